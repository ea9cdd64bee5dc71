using System.Runtime.InteropServices;

namespace Ravel.Linux.Guest;

/// <summary>How a child ended: one of the two is set.</summary>
public readonly record struct ChildExit(int Pid, int ExitCode, int Signal);

/// <summary>
/// Tells a poll loop when there is a child to reap. A thread waits in the kernel: SIGCHLD over a signalfd would be lost to the
/// runtime's own threads, which do not block it.
/// </summary>
public sealed unsafe class Children
{
    private const int NoHang = 1;
    private const int Exited = 4;
    private const int NoWait = 0x01000000;
    private const int AllProcesses = 0;

    private readonly int _wakeWrite;
    private readonly int _goRead;
    private readonly int _goWrite;

    public Children()
    {
        (WakeDescriptor, _wakeWrite) = Descriptors.Pipe();
        (_goRead, _goWrite) = Descriptors.Pipe();
        Descriptors.SetNonBlocking(WakeDescriptor);
        Descriptors.SetNonBlocking(_goWrite);
        new Thread(Watch, maxStackSize: 128 * 1024) { IsBackground = true }.Start();
    }

    /// <summary>Readable when <see cref="Reap"/> has something to do.</summary>
    public int WakeDescriptor { get; }

    /// <summary>To be called after a child was started.</summary>
    public void Started() => Go();

    /// <summary>The next child that ended, orphans among them; null when there is none now.</summary>
    public ChildExit? Reap()
    {
        int status;
        // SAFETY: waitpid fills the status.
        var pid = GuestCalls.WaitPid(-1, &status, NoHang);
        if (pid <= 0)
        {
            Span<byte> wakes = stackalloc byte[16];
            _ = Descriptors.Read(WakeDescriptor, wakes);
            Go();
            return null;
        }
        var signal = status & 0x7f;
        return new ChildExit(pid, signal == 0 ? (status >> 8) & 0xff : 0, signal);
    }

    /// <summary>Sends a signal; a process that is gone is fine. Pid −1 is every process but the caller.</summary>
    public static void Kill(int pid, int signal) => _ = GuestCalls.Kill(pid, signal);

    public static void IgnoreBrokenPipes()
    {
        const int BrokenPipe = 13;
        const nint Ignore = 1;
        _ = GuestCalls.Signal(BrokenPipe, Ignore);
    }

    private void Go() => _ = Descriptors.Write(_goWrite, [1]);

    private void Watch()
    {
        // siginfo_t has 128 bytes.
        var info = stackalloc byte[128];
        Span<byte> go = stackalloc byte[64];
        while (true)
        {
            // SAFETY: waitid fills info. Leaves the child to be reaped by the loop.
            if (GuestCalls.WaitId(AllProcesses, 0, info, Exited | NoWait) == 0)
                _ = Descriptors.Write(_wakeWrite, [1]);
            else if (Marshal.GetLastPInvokeError() == Errno.Interrupted)
                continue;
            // Until the loop has reaped it, or a child was started.
            _ = Descriptors.Read(_goRead, go);
        }
    }
}
