using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Network;

/// <summary>
/// Keeps a TCP or UDP port of this host from everybody else while traffic to it is redirected by the packet filter: a socket that
/// is bound and nothing more. SO_REUSEADDR stays off (unlike in .NET's sockets), else a server that sets it could bind the
/// port next to this one.
/// </summary>
public sealed unsafe class PortReservation : IDisposable
{
    private readonly SafeFileHandle _socket;

    private PortReservation(SafeFileHandle socket) => _socket = socket;

    /// <summary>Reserves the port, or returns null when another socket has it.</summary>
    /// <param name="protocol">Tcp or Udp.</param>
    /// <param name="address">An IPv4 address of this host, or null for all addresses of both families.</param>
    /// <exception cref="LinuxNetworkException">The address is not this host's, or the kernel refused otherwise.</exception>
    public static PortReservation? TryTake(ProtocolType protocol, IPAddress? address, int port)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(port, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(port, ushort.MaxValue);
        if (address is { AddressFamily: not AddressFamily.InterNetwork })
            throw new ArgumentException($"{address} is no IPv4 address.", nameof(address));

        var type = protocol == ProtocolType.Tcp ? NetworkCalls.SockStream : NetworkCalls.SockDgram;
        var purpose = $"reserving {(protocol == ProtocolType.Tcp ? "tcp" : "udp")} port {port} of {address?.ToString() ?? "all addresses"}";
        if (address is null)
        {
            try
            {
                // One socket on [::] holds the port for IPv4 too (IPV6_V6ONLY is off, ipv6(7)).
                return Bind(NetworkCalls.AfInet6, type, IPAddress.IPv6Any, port, purpose);
            }
            catch (LinuxNetworkException e) when (e.Errno is Errno.AddressFamilyNotSupported or Errno.AddressNotAvailable)
            {
                // A host without IPv6.
            }
        }
        return Bind(NetworkCalls.AfInet, type, address ?? IPAddress.Any, port, purpose);
    }

    public void Dispose() => _socket.Dispose();

    private static PortReservation? Bind(int family, int type, IPAddress address, int port, string purpose)
    {
        var socket = NetworkCalls.OpenSocket(family, type, 0, purpose);
        // struct sockaddr_in (16 bytes) or sockaddr_in6 (28): family, port, address at 4 or 8.
        Span<byte> name = stackalloc byte[28];
        name.Clear();
        MemoryMarshal.Write(name, (ushort)family);
        BinaryPrimitives.WriteUInt16BigEndian(name[2..], (ushort)port);
        address.TryWriteBytes(name[(family == NetworkCalls.AfInet ? 4 : 8)..], out _);
        if (family == NetworkCalls.AfInet6)
        {
            var v6Only = 0;
            _ = NetworkCalls.SetSocketOption(socket, 41 /* IPPROTO_IPV6 */, 26 /* IPV6_V6ONLY */, &v6Only, sizeof(int));
        }

        fixed (byte* pointer = name)
        {
            if (NetworkCalls.Bind(socket, pointer, family == NetworkCalls.AfInet ? 16 : 28) == 0)
                return new PortReservation(socket);
        }
        var errno = Marshal.GetLastPInvokeError();
        socket.Dispose();
        return errno == Errno.AddressInUse ? null : throw new LinuxNetworkException(purpose, errno);
    }
}
