using System.Runtime.InteropServices;

namespace Ravel.Linux.Guest;

/// <summary>A stream to the host over vsock(7).</summary>
public static unsafe class VirtualSocket
{
    private const int Family = 40;

    [StructLayout(LayoutKind.Sequential)]
    private struct Address
    {
        public ushort Family;
        public ushort Reserved;
        public uint Port;
        public uint Cid;
        public uint Zero;
    }

    /// <summary>Starts to connect; writable once it is settled, <see cref="ConnectError"/> says how. Negated error if it cannot even start.</summary>
    public static int StartConnect(uint port)
    {
        const int Stream = 1;
        const uint HostCid = 2;
        var fd = GuestCalls.Socket(Family, Stream | Descriptors.NonBlocking | Descriptors.CloseOnExec, 0);
        if (fd < 0)
            return -Marshal.GetLastPInvokeError();
        var address = new Address { Family = Family, Port = port, Cid = HostCid };
        // SAFETY: the kernel reads one address of the given size.
        if (GuestCalls.Connect(fd, &address, (uint)sizeof(Address)) != 0 && Marshal.GetLastPInvokeError() != Errno.InProgress)
        {
            var error = Marshal.GetLastPInvokeError();
            Descriptors.Close(fd);
            return -error;
        }
        return fd;
    }

    /// <summary>0 when connected.</summary>
    public static int ConnectError(int fd)
    {
        const int SocketLevel = 1;
        const int ErrorOption = 4;
        int error;
        var length = (uint)sizeof(int);
        // SAFETY: the option is an int.
        return GuestCalls.GetSocketOption(fd, SocketLevel, ErrorOption, &error, &length) == 0 ? error : Marshal.GetLastPInvokeError();
    }
}
