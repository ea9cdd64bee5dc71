using System.ComponentModel;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Ravel.Linux.Cgroups;

namespace Ravel.Linux.Processes;

/// <summary>What to start with <see cref="DetachedProcess.Start"/>.</summary>
/// <param name="Program">Absolute path.</param>
/// <param name="Arguments">Without the program's own name.</param>
public sealed record DetachedProcessSpec(string Program, IReadOnlyList<string> Arguments)
{
    /// <summary>Control group the program is in from its first instruction on; null leaves it in the caller's.</summary>
    public Cgroup? Cgroup { get; init; }

    /// <summary>File or named pipe for standard output and error, opened for reading and writing, non-blocking; null = /dev/null.</summary>
    public string? Output { get; init; }

    /// <summary>Open files the program gets as descriptors 3, 4, …; all others of the caller are closed.</summary>
    public IReadOnlyList<SafeHandle> Inherited { get; init; } = [];

    public string WorkingDirectory { get; init; } = "/";

    /// <summary>Null: the caller's user, with all that it may.</summary>
    public UnprivilegedUser? User { get; init; }

    /// <summary>Null: the caller's.</summary>
    public ProcessLimits? Limits { get; init; }

    /// <summary>NAME=VALUE. The caller's own environment, which may hold secrets, is not passed on.</summary>
    public IReadOnlyList<string> Environment { get; init; } = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"];
}

/// <summary>What a process may have (getrlimit(2)), for good; it leaves no core dump, in which a guest's memory would be.</summary>
/// <param name="OpenFiles">Descriptors.</param>
/// <param name="Threads">Processes and threads of its user.</param>
/// <param name="FileBytes">Length beyond which it can write to no file.</param>
public sealed record ProcessLimits(int OpenFiles, int Threads, long FileBytes)
{
    private const long BlockBytes = 512;

    /// <summary>For sh(1). The number of processes is -p in dash and busybox, -u in bash.</summary>
    internal string Script => string.Create(
        CultureInfo.InvariantCulture,
        $"ulimit -c 0 && ulimit -n {OpenFiles} && {{ ulimit -u {Threads} 2> /dev/null || ulimit -p {Threads}; }} && ulimit -f {(FileBytes + BlockBytes - 1) / BlockBytes} || exit 125; ");
}

/// <summary>Who a program runs as that may do nothing but what its open files allow: no capability, and no way to get one.</summary>
/// <param name="Setpriv">Absolute path of setpriv(1), which becomes the program.</param>
/// <param name="Id">User and group.</param>
/// <param name="Groups">Others it is in.</param>
public sealed record UnprivilegedUser(string Setpriv, int Id, IReadOnlyList<int> Groups)
{
    internal IReadOnlyList<string> Prefix
    {
        get
        {
            var id = Id.ToString(CultureInfo.InvariantCulture);
            return
            [
                Setpriv, "--reuid", id, "--regid", id,
                .. Groups.Count == 0 ? (IEnumerable<string>)["--clear-groups"] : ["--groups", string.Join(',', Groups)],
                "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--",
            ];
        }
    }
}

/// <summary>
/// A process of its own session that survives its launcher. While the launcher lives it reaps the process as it ends; after
/// that init does.
/// </summary>
public sealed class DetachedProcess
{
    /// <summary>
    /// Joins every control group named before "--", then becomes the program. A shell, because posix_spawn(3) cannot place a
    /// child and code of our own cannot run between fork and exec of a managed process; nothing of the program has run
    /// before it is in its group, and a launcher killed in between leaves the shell to do or die.
    /// </summary>
    private const string Join = """while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; """;

    private const string Exec = """exec "$@" """;

    private const int FirstInherited = 3;

    private readonly PidFd _hold;

    private DetachedProcess(PidFd hold, PidFd handOut)
    {
        _hold = handOut;
        Identity = hold.Identity;
        Exited = ReapAsync(hold);
    }

    public ProcessIdentity Identity { get; }

    /// <summary>
    /// Completes when the process has ended and was reaped. Status 125 with words on its output: it could not join its control
    /// group; 126 or 127: the program could not be executed. Null when something else reaped it.
    /// </summary>
    public Task<ExitStatus?> Exited { get; }

    /// <summary>A hold on the process, for the caller to dispose; good also when it has ended meanwhile.</summary>
    public PidFd Hold => _hold;

    /// <summary>Starts a program and returns at once.</summary>
    /// <exception cref="IOException">The shell that starts it could not be started.</exception>
    public static DetachedProcess Start(DetachedProcessSpec spec)
    {
        List<string> arguments = ["/bin/sh", "-c", Join + spec.Limits?.Script + Exec, "ravel-launch"];
        if (spec.Cgroup is not null)
            arguments.AddRange(spec.Cgroup.MembershipFiles);
        arguments.Add("--");
        if (spec.User is not null)
            arguments.AddRange(spec.User.Prefix);
        arguments.Add(spec.Program);
        arguments.AddRange(spec.Arguments);

        var pid = Spawn(spec, arguments);
        // It cannot be gone from the process table before we reap it, so both calls find it; a zombie has a start time too.
        var stat = ProcessStat.Read(pid) ?? throw new IOException($"{spec.Program}: process {pid} vanished; is SIGCHLD ignored?");
        var identity = new ProcessIdentity(pid, stat.StartTime);
        // Two: one for the reaping, which goes on when the launcher has let go of its own.
        return new DetachedProcess(PidFd.OpenChild(identity), PidFd.OpenChild(identity));
    }

    private static async Task<ExitStatus?> ReapAsync(PidFd hold)
    {
        using (hold)
        {
            await hold.Exited.ConfigureAwait(false);
            return hold.Reap();
        }
    }

    private static unsafe int Spawn(DetachedProcessSpec spec, List<string> arguments)
    {
        using var memory = new NativeStrings();
        var actions = stackalloc byte[ProcessCalls.SpawnStructureBytes];
        var attributes = stackalloc byte[ProcessCalls.SpawnStructureBytes];
        var signals = stackalloc byte[128];
        Check(ProcessCalls.posix_spawn_file_actions_init(actions), spec);
        Check(ProcessCalls.posix_spawnattr_init(attributes), spec);
        var copies = new List<SafeFileHandle>();
        try
        {
            // Copied above every target first: a target may be the number of a source still to come, and a descriptor
            // duplicated onto itself would keep close-on-exec.
            foreach (var handle in spec.Inherited)
            {
                copies.Add(Duplicate(handle, FirstInherited + spec.Inherited.Count, spec));
                Check(
                    ProcessCalls.posix_spawn_file_actions_adddup2(
                        actions, (int)copies[^1].DangerousGetHandle(), FirstInherited + copies.Count - 1),
                    spec);
            }
            Check(ProcessCalls.posix_spawn_file_actions_addopen(actions, 0, memory.Add("/dev/null"), 0, 0), spec);
            Check(
                ProcessCalls.posix_spawn_file_actions_addopen(
                    actions, 1, memory.Add(spec.Output ?? "/dev/null"), ProcessCalls.ORdwr | ProcessCalls.ONonblock, 0),
                spec);
            Check(ProcessCalls.posix_spawn_file_actions_adddup2(actions, 1, 2), spec);
            Check(ProcessCalls.posix_spawn_file_actions_addclosefrom_np(actions, FirstInherited + copies.Count), spec);
            Check(ProcessCalls.posix_spawn_file_actions_addchdir_np(actions, spec.WorkingDirectory), spec);

            // .NET ignores SIGPIPE and blocks nothing of use to a child: it starts with a clean slate.
            _ = ProcessCalls.sigfillset(signals);
            Check(ProcessCalls.posix_spawnattr_setsigdefault(attributes, signals), spec);
            _ = ProcessCalls.sigemptyset(signals);
            Check(ProcessCalls.posix_spawnattr_setsigmask(attributes, signals), spec);
            Check(
                ProcessCalls.posix_spawnattr_setflags(
                    attributes, ProcessCalls.SpawnSetsid | ProcessCalls.SpawnSetSigdef | ProcessCalls.SpawnSetSigmask),
                spec);

            int pid;
            Check(
                ProcessCalls.posix_spawn(
                    &pid, memory.Add(arguments[0]), actions, attributes, memory.AddList(arguments), memory.AddList(spec.Environment)),
                spec);
            return pid;
        }
        finally
        {
            foreach (var copy in copies)
                copy.Dispose();
            _ = ProcessCalls.posix_spawn_file_actions_destroy(actions);
            _ = ProcessCalls.posix_spawnattr_destroy(attributes);
        }
    }

    private static SafeFileHandle Duplicate(SafeHandle handle, int minimum, DetachedProcessSpec spec)
    {
        var copy = ProcessCalls.fcntl(handle, ProcessCalls.FDupfdCloexec, minimum);
        if (!copy.IsInvalid)
            return copy;
        copy.Dispose();
        throw new IOException($"{spec.Program} could not be started: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    private static void Check(int error, DetachedProcessSpec spec)
    {
        if (error != 0)
            throw new IOException($"{spec.Program} could not be started: {new Win32Exception(error).Message}");
    }

    /// <summary>Zero-terminated UTF-8 for the length of one call.</summary>
    private sealed unsafe class NativeStrings : IDisposable
    {
        private readonly List<nint> _blocks = [];

        public byte* Add(string text)
        {
            if (text.Contains('\0'))
                throw new ArgumentException("A program's argument cannot hold a zero character.");
            var bytes = Encoding.UTF8.GetBytes(text);
            var block = (byte*)Allocate(bytes.Length + 1);
            bytes.CopyTo(new Span<byte>(block, bytes.Length));
            block[bytes.Length] = 0;
            return block;
        }

        public byte** AddList(IReadOnlyList<string> texts)
        {
            var list = (byte**)Allocate((texts.Count + 1) * sizeof(byte*));
            for (var i = 0; i < texts.Count; i++)
                list[i] = Add(texts[i]);
            list[texts.Count] = null;
            return list;
        }

        public void Dispose()
        {
            foreach (var block in _blocks)
                NativeMemory.Free((void*)block);
        }

        private void* Allocate(int bytes)
        {
            var block = NativeMemory.Alloc((nuint)bytes);
            _blocks.Add((nint)block);
            return block;
        }
    }
}
