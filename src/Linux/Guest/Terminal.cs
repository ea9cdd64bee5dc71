namespace Ravel.Linux.Guest;

/// <summary>A pseudo-terminal (pty(7)).</summary>
public static unsafe class Terminal
{
    /// <summary>Opens a new one: the master, not blocking, and the slave for a child.</summary>
    public static (int Master, int Slave) Open(ushort columns, ushort rows)
    {
        const nuint Unlock = 0x40045431;
        const nuint OpenPeer = 0x5441;
        var master = Descriptors.Open("/dev/ptmx", Descriptors.ReadWrite | Descriptors.NoControllingTerminal | Descriptors.NonBlocking);
        var zero = 0;
        // SAFETY: TIOCSPTLCK reads an int; TIOCGPTPEER takes flags in place of a pointer (ioctl_tty(2)).
        if (GuestCalls.Ioctl(master, Unlock, &zero) != 0)
            throw Failed(master, "unlock a terminal");
        var slave = GuestCalls.Ioctl(
            master, OpenPeer, (void*)(Descriptors.ReadWrite | Descriptors.NoControllingTerminal | Descriptors.CloseOnExec));
        if (slave < 0)
            throw Failed(master, "open a terminal");
        Resize(master, columns, rows);
        return (master, slave);
    }

    public static void Resize(int master, ushort columns, ushort rows)
    {
        const nuint SetSize = 0x5414;
        var size = stackalloc ushort[4] { rows, columns, 0, 0 };
        // SAFETY: struct winsize is four numbers.
        _ = GuestCalls.Ioctl(master, SetSize, size);
    }

    private static SystemCallException Failed(int master, string attempt)
    {
        var error = SystemCallException.Last(attempt);
        Descriptors.Close(master);
        return error;
    }
}
