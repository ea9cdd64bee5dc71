using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Network;

/// <summary>
/// A netlink(7) socket in the network namespace of the thread that opened it. Requests are answered within microseconds,
/// so calls block; one at a time.
/// </summary>
internal sealed unsafe class NetlinkSocket : IDisposable
{
    internal const int RouteProtocol = 0;
    internal const int NetfilterProtocol = 12;

    internal const ushort Request = 1;
    internal const ushort Acknowledge = 4;
    internal const ushort Dump = 0x300;
    internal const ushort Replace = 0x100;
    internal const ushort Exclusive = 0x200;
    internal const ushort Create = 0x400;

    private const ushort TypeError = 2;
    private const ushort TypeDone = 3;
    private const ushort DumpInterrupted = 0x10;

    /// <summary>The kernel never makes a dump's part larger than 32 KiB unless the reader's buffer was.</summary>
    private const int ReceiveSize = 64 * 1024;

    private readonly Lock _lock = new();
    private readonly byte[] _received = GC.AllocateUninitializedArray<byte>(ReceiveSize, pinned: true);
    private readonly SafeFileHandle _socket;
    private uint _sequence;

    internal NetlinkSocket(int protocol)
    {
        _socket = NetworkCalls.OpenSocket(NetworkCalls.AfNetlink, NetworkCalls.SockRaw, protocol, "opening a netlink socket");
        // struct timeval: a kernel that does not answer must not hang the agent.
        var limit = stackalloc long[2] { 10, 0 };
        _ = NetworkCalls.SetSocketOption(_socket, NetworkCalls.SolSocket, NetworkCalls.SoReceiveTimeout, limit, 16);
    }

    internal delegate void Received(ushort type, ReadOnlySpan<byte> payload);

    /// <summary>Sends a request that has <see cref="Acknowledge"/> set and returns 0 or the kernel's errno.</summary>
    internal int Execute(NetlinkMessage message, string purpose)
    {
        lock (_lock)
        {
            Send(message, purpose);
            var errno = 0;
            var more = true;
            while (more)
                more = Receive(purpose, null, ref errno, out _);
            return errno;
        }
    }

    /// <summary>
    /// Sends a request with <see cref="Dump"/> and hands every answer to <paramref name="received"/> (its span is valid during the call
    /// only). Begun anew, after <paramref name="restart"/>, when the kernel says that what it lists has changed meanwhile.
    /// </summary>
    /// <exception cref="LinuxNetworkException">The kernel refused.</exception>
    internal void List(NetlinkMessage message, string purpose, Action restart, Received received)
    {
        lock (_lock)
        {
            for (var attempt = 0; ; attempt++)
            {
                restart();
                Send(message, purpose);
                var errno = 0;
                var interrupted = false;
                var more = true;
                while (more)
                {
                    more = Receive(purpose, received, ref errno, out var changed);
                    interrupted |= changed;
                }
                if (errno != 0)
                    throw new LinuxNetworkException(purpose, errno);
                if (!interrupted || attempt == 8)
                    return;
            }
        }
    }

    public void Dispose() => _socket.Dispose();

    private void Send(NetlinkMessage message, string purpose)
    {
        message.Finish(++_sequence);
        fixed (byte* bytes = message.Bytes)
        {
            while (NetworkCalls.Send(_socket, bytes, message.Bytes.Length, 0) < 0)
            {
                if (Marshal.GetLastPInvokeError() != Errno.Interrupted)
                    throw new LinuxNetworkException(purpose, Marshal.GetLastPInvokeError());
            }
        }
    }

    /// <summary>Reads one datagram; false when it held the end of the answer.</summary>
    private bool Receive(string purpose, Received? received, ref int errno, out bool interrupted)
    {
        interrupted = false;
        nint read;
        fixed (byte* buffer = _received)
        {
            while ((read = NetworkCalls.Receive(_socket, buffer, ReceiveSize, NetworkCalls.MsgTruncate)) < 0)
            {
                if (Marshal.GetLastPInvokeError() != Errno.Interrupted)
                    throw new LinuxNetworkException(purpose, Marshal.GetLastPInvokeError());
            }
        }
        if (read > ReceiveSize)
            throw new LinuxNetworkException($"{purpose} (an answer of {read} bytes)", Errno.Again);

        var rest = _received.AsSpan(0, (int)read);
        while (rest.Length >= Unsafe.SizeOf<NlMsgHdr>())
        {
            var header = MemoryMarshal.Read<NlMsgHdr>(rest);
            if (header.Len < Unsafe.SizeOf<NlMsgHdr>() || header.Len > rest.Length)
                break;
            var payload = rest[Unsafe.SizeOf<NlMsgHdr>()..(int)header.Len];
            rest = rest[Math.Min(NetlinkMessage.Align((int)header.Len), rest.Length)..];
            if (header.Seq != _sequence)
                continue; // the rest of an answer that was given up
            interrupted |= (header.Flags & DumpInterrupted) != 0;
            if (header.Type is TypeError or TypeDone)
            {
                if (payload.Length >= 4)
                    errno = -MemoryMarshal.Read<int>(payload);
                return false;
            }
            received?.Invoke(header.Type, payload);
        }
        return true;
    }
}
