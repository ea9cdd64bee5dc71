using System.Runtime.InteropServices;
using System.Text;

namespace Ravel.Linux.Guest;

/// <summary>What a child is to be. All names are resolved: between fork and execve nothing can be looked up.</summary>
public sealed record ChildSpec
{
    public required string Path { get; init; }

    public required IReadOnlyList<string> Arguments { get; init; }

    public required IReadOnlyList<string> Environment { get; init; }

    public required string WorkingDirectory { get; init; }

    public uint UserId { get; init; }

    public uint GroupId { get; init; }

    public IReadOnlyList<uint> Groups { get; init; } = [];

    /// <summary>Descriptors for 0, 1 and 2. Closed by the caller afterwards.</summary>
    public required int Stdin { get; init; }

    public required int Stdout { get; init; }

    public required int Stderr { get; init; }

    /// <summary><see cref="Stdin"/> is a terminal that becomes the controlling one.</summary>
    public bool HasTerminal { get; init; }

    /// <summary>The open <c>cgroup.procs</c> of the control group it begins in; −1 = the caller's. Closed by the caller afterwards.</summary>
    public int ControlGroup { get; init; } = -1;

    /// <summary>Soft and hard limit of open files.</summary>
    public ulong OpenFiles { get; init; } = 1024 * 1024;
}

/// <summary>What a child was doing when the kernel refused.</summary>
public enum ChildStep
{
    Fork,
    ControlGroup,
    Session,
    Terminal,
    Streams,
    Limits,
    WorkingDirectory,
    Groups,
    Group,
    User,
    Execute,
}

/// <summary>fork, a little set-up, execve.</summary>
public static unsafe class ChildStart
{
    // System call numbers of x86-64.
    private const int Write = 1;
    private const int SignalAction = 13;
    private const int SignalMask = 14;
    private const int IoControl = 16;
    private const int Duplicate = 33;
    private const int Execute = 59;
    private const int ChangeDirectory = 80;
    private const int SetUser = 105;
    private const int SetGroup = 106;
    private const int NewSession = 112;
    private const int SetGroups = 116;
    private const int SetLimit = 160;
    private const int ExitGroup = 231;

    /// <summary>Everything the child needs, in unmanaged memory: it must not touch the managed heap.</summary>
    private struct Plan
    {
        public byte* Path;
        public byte** Arguments;
        public byte** Environment;
        public byte* WorkingDirectory;
        public uint* Groups;
        public int GroupCount;
        public uint User;
        public uint Group;
        public int Stdin;
        public int Stdout;
        public int Stderr;
        public int Report;
        public int HasTerminal;
        public int ControlGroup;
        public byte Itself;
        public fixed ulong OpenFiles[2];
        public fixed ulong Processes[2];
        public fixed ulong DefaultAction[4];
        public ulong NoSignals;
        public fixed int Failure[2];
    }

    /// <summary>Starts a child and waits until it runs the program or has said why not.</summary>
    /// <returns>The pid, or the step that failed with its error.</returns>
    public static (int Pid, ChildStep Step, int Error) Start(ChildSpec spec)
    {
        var (reportRead, reportWrite) = Descriptors.Pipe();
        // SAFETY: freed below; the child has its own copy of all of it.
        var plan = (Plan*)NativeMemory.AllocZeroed((nuint)sizeof(Plan));
        try
        {
            Fill(plan, spec, reportWrite);
            // SAFETY: the child's copy of this frame is never left: RunChild ends in execve or exit_group. No transition was
            // made, so no collection is going on in the copied memory.
            var pid = GuestCalls.ChildFork();
            if (pid == 0)
                RunChild(plan);
            var forkError = pid < 0 ? *GuestCalls.ChildErrno() : 0;
            Descriptors.Close(reportWrite);
            reportWrite = -1;
            return pid < 0 ? (0, ChildStep.Fork, forkError) : ReadReport(reportRead, pid);
        }
        finally
        {
            Descriptors.Close(reportWrite);
            Descriptors.Close(reportRead);
            Free(plan);
        }
    }

    private static (int Pid, ChildStep Step, int Error) ReadReport(int fd, int pid)
    {
        Span<int> report = stackalloc int[2];
        int read;
        do
            read = Descriptors.Read(fd, MemoryMarshal.AsBytes(report));
        while (read == -Errno.Interrupted);
        // End of file: execve closed the pipe.
        return read == 2 * sizeof(int) ? (0, (ChildStep)report[0], report[1]) : (pid, default, 0);
    }

    private static void Fill(Plan* plan, ChildSpec spec, int report)
    {
        plan->Path = Text(spec.Path);
        plan->Arguments = Texts(spec.Arguments);
        plan->Environment = Texts(spec.Environment);
        plan->WorkingDirectory = Text(spec.WorkingDirectory);
        plan->GroupCount = spec.Groups.Count;
        plan->Groups = (uint*)NativeMemory.Alloc((nuint)Math.Max(1, spec.Groups.Count), sizeof(uint));
        for (var i = 0; i < spec.Groups.Count; i++)
            plan->Groups[i] = spec.Groups[i];
        plan->User = spec.UserId;
        plan->Group = spec.GroupId;
        plan->Stdin = spec.Stdin;
        plan->Stdout = spec.Stdout;
        plan->Stderr = spec.Stderr;
        plan->Report = report;
        plan->HasTerminal = spec.HasTerminal ? 1 : 0;
        plan->ControlGroup = spec.ControlGroup;
        plan->Itself = (byte)'0';
        plan->OpenFiles[0] = plan->OpenFiles[1] = spec.OpenFiles;
        plan->Processes[0] = plan->Processes[1] = ulong.MaxValue;
    }

    /// <summary>
    /// SAFETY: runs in the forked child, the only thread of a copied process. Only system calls without a transition, only memory
    /// of the plan and the stack; never returns.
    /// </summary>
    private static void RunChild(Plan* plan)
    {
        const int HighestSignal = 64;
        const int SetMask = 2;
        const int OpenFilesLimit = 7;
        const int ProcessesLimit = 6;
        const nint SetControllingTerminal = 0x540e;

        // PID 1 ignores some signals and the runtime handles others; a program expects the defaults.
        for (var signal = 1; signal <= HighestSignal; signal++)
            GuestCalls.ChildCall(SignalAction, signal, (nint)plan->DefaultAction, 0, 8);
        GuestCalls.ChildCall(SignalMask, SetMask, (nint)(&plan->NoSignals), 0, 8);

        // Before anything else of it: "0" is the writer (cgroups(7)), and memory is charged to where it is.
        if (plan->ControlGroup >= 0 && GuestCalls.ChildCall(Write, plan->ControlGroup, (nint)(&plan->Itself), 1, 0) < 0)
            Fail(plan, ChildStep.ControlGroup);
        if (GuestCalls.ChildCall(NewSession, 0, 0, 0, 0) < 0)
            Fail(plan, ChildStep.Session);
        // All three lie above 2 (the caller's 0 to 2 are its console), so none is overwritten before it was copied.
        if (GuestCalls.ChildCall(Duplicate, plan->Stdin, 0, 0, 0) < 0
            || GuestCalls.ChildCall(Duplicate, plan->Stdout, 1, 0, 0) < 0
            || GuestCalls.ChildCall(Duplicate, plan->Stderr, 2, 0, 0) < 0)
        {
            Fail(plan, ChildStep.Streams);
        }
        if (plan->HasTerminal != 0 && GuestCalls.ChildCall(IoControl, 0, SetControllingTerminal, 0, 0) < 0)
            Fail(plan, ChildStep.Terminal);
        // The kernel's own limit of processes is by the size of memory, and low in a small machine.
        if (GuestCalls.ChildCall(SetLimit, OpenFilesLimit, (nint)plan->OpenFiles, 0, 0) < 0
            || GuestCalls.ChildCall(SetLimit, ProcessesLimit, (nint)plan->Processes, 0, 0) < 0)
            Fail(plan, ChildStep.Limits);
        if (GuestCalls.ChildCall(ChangeDirectory, (nint)plan->WorkingDirectory, 0, 0, 0) < 0)
            Fail(plan, ChildStep.WorkingDirectory);
        if (GuestCalls.ChildCall(SetGroups, plan->GroupCount, (nint)plan->Groups, 0, 0) < 0)
            Fail(plan, ChildStep.Groups);
        if (GuestCalls.ChildCall(SetGroup, (nint)plan->Group, 0, 0, 0) < 0)
            Fail(plan, ChildStep.Group);
        if (GuestCalls.ChildCall(SetUser, (nint)plan->User, 0, 0, 0) < 0)
            Fail(plan, ChildStep.User);
        GuestCalls.ChildCall(Execute, (nint)plan->Path, (nint)plan->Arguments, (nint)plan->Environment, 0);
        Fail(plan, ChildStep.Execute);
    }

    private static void Fail(Plan* plan, ChildStep step)
    {
        plan->Failure[1] = *GuestCalls.ChildErrno();
        plan->Failure[0] = (int)step;
        GuestCalls.ChildCall(Write, plan->Report, (nint)plan->Failure, 2 * sizeof(int), 0);
        while (true)
            GuestCalls.ChildCall(ExitGroup, 127, 0, 0, 0);
    }

    private static byte* Text(string text)
    {
        var length = Encoding.UTF8.GetByteCount(text);
        var memory = (byte*)NativeMemory.Alloc((nuint)length + 1);
        // SAFETY: as long as was just counted, and one byte for the end.
        Encoding.UTF8.GetBytes(text, new Span<byte>(memory, length));
        memory[length] = 0;
        return memory;
    }

    private static byte** Texts(IReadOnlyList<string> texts)
    {
        var list = (byte**)NativeMemory.AllocZeroed((nuint)texts.Count + 1, (nuint)sizeof(byte*));
        for (var i = 0; i < texts.Count; i++)
            list[i] = Text(texts[i]);
        return list;
    }

    private static void Free(Plan* plan)
    {
        NativeMemory.Free(plan->Path);
        NativeMemory.Free(plan->WorkingDirectory);
        NativeMemory.Free(plan->Groups);
        FreeTexts(plan->Arguments);
        FreeTexts(plan->Environment);
        NativeMemory.Free(plan);
    }

    private static void FreeTexts(byte** texts)
    {
        if (texts is null)
            return;
        for (var i = 0; texts[i] is not null; i++)
            NativeMemory.Free(texts[i]);
        NativeMemory.Free(texts);
    }
}
