using System.Runtime.InteropServices;

namespace Ravel.Linux.Guest;

/// <summary>File descriptors as numbers: PID 1 polls them all from one loop and needs no more.</summary>
public static unsafe class Descriptors
{
    public const int ReadOnly = 0;
    public const int WriteOnly = 1;
    public const int ReadWrite = 2;
    public const int Create = 0x40;
    public const int NoControllingTerminal = 0x100;
    public const int Truncate = 0x200;
    public const int NonBlocking = 0x800;
    public const int Directory = 0x10000;
    public const int NoFollow = 0x20000;
    public const int CloseOnExec = 0x80000;

    /// <summary>Opens with <see cref="CloseOnExec"/>.</summary>
    public static int Open(string path, int flags, uint mode = 0)
    {
        var fd = TryOpen(path, flags, mode);
        return fd >= 0 ? fd : throw new SystemCallException($"open {path}", -fd);
    }

    /// <returns>The descriptor, or the negated error.</returns>
    public static int TryOpen(string path, int flags, uint mode = 0)
    {
        var fd = GuestCalls.Open(path, flags | CloseOnExec, mode);
        return fd >= 0 ? fd : -Marshal.GetLastPInvokeError();
    }

    public static void Close(int fd)
    {
        if (fd >= 0)
            _ = GuestCalls.Close(fd);
    }

    /// <returns>Bytes read, 0 at the end, or the negated error.</returns>
    public static int Read(int fd, Span<byte> buffer)
    {
        // SAFETY: the kernel writes at most buffer.Length bytes, and the span is pinned meanwhile.
        fixed (byte* p = buffer)
        {
            var count = GuestCalls.Read(fd, p, buffer.Length);
            return count >= 0 ? (int)count : -Marshal.GetLastPInvokeError();
        }
    }

    /// <returns>Bytes written, or the negated error.</returns>
    public static int Write(int fd, ReadOnlySpan<byte> data)
    {
        // SAFETY: the kernel reads at most data.Length bytes, and the span is pinned meanwhile.
        fixed (byte* p = data)
        {
            var count = GuestCalls.Write(fd, p, data.Length);
            return count >= 0 ? (int)count : -Marshal.GetLastPInvokeError();
        }
    }

    /// <summary>A pipe whose ends are closed on exec.</summary>
    public static (int Read, int Write) Pipe()
    {
        var fds = stackalloc int[2];
        // SAFETY: pipe2 fills the two numbers.
        if (GuestCalls.Pipe2(fds, CloseOnExec) != 0)
            throw SystemCallException.Last("pipe");
        return (fds[0], fds[1]);
    }

    public static void SetNonBlocking(int fd)
    {
        const int GetFlags = 3;
        const int SetFlags = 4;
        var flags = GuestCalls.Fcntl(fd, GetFlags, 0);
        if (flags < 0 || GuestCalls.Fcntl(fd, SetFlags, flags | NonBlocking) < 0)
            throw SystemCallException.Last("fcntl");
    }

    /// <summary>Waits for any of the descriptors; an interruption counts as none.</summary>
    /// <param name="entries">What to wait for; <see cref="PollEntry.Returned"/> is filled in.</param>
    /// <param name="timeoutMilliseconds">Negative = without limit.</param>
    public static void Poll(Span<PollEntry> entries, int timeoutMilliseconds)
    {
        // SAFETY: the kernel reads and writes exactly the given entries, pinned meanwhile.
        fixed (PollEntry* p = entries)
        {
            if (GuestCalls.Poll(p, (nuint)entries.Length, timeoutMilliseconds) >= 0)
                return;
        }
        if (Marshal.GetLastPInvokeError() != Errno.Interrupted)
            throw SystemCallException.Last("poll");
        foreach (ref var entry in entries)
            entry.Returned = PollEvents.None;
    }

    /// <summary>Makes 0, 1 and 2 the file at <paramref name="path"/>.</summary>
    public static void UseAsStandard(string path)
    {
        var fd = TryOpen(path, ReadWrite | NoControllingTerminal);
        if (fd < 0)
            return;
        for (var standard = 0; standard <= 2; standard++)
            _ = GuestCalls.Dup2(fd, standard);
        if (fd > 2)
            Close(fd);
    }
}
