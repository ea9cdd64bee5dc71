using System.Net;
using System.Net.Sockets;
using Ravel.Linux.Network;

namespace Ravel.Testing.Network;

/// <summary>ICMP echo from one of the namespaces.</summary>
public static class Echo
{
    /// <summary>Sends an echo request and returns the type of the first ICMP message that comes back.</summary>
    public static Task<int> SendAsync(NetworkNamespaceThread from, IPAddress to) => from.RunAsync(async () =>
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var isV4 = to.AddressFamily == AddressFamily.InterNetwork;
        using var socket = new Socket(to.AddressFamily, SocketType.Raw, isV4 ? ProtocolType.Icmp : ProtocolType.IcmpV6);
        if (to.IsIPv6LinkLocal)
            to.ScopeId = RouteNetlink.IndexOf("eth0") ?? 0;
        // Type, code, checksum (the kernel's work for IPv6), id, sequence.
        byte[] request = isV4 ? [8, 0, 0xf7, 0xfd, 0, 1, 0, 1] : [128, 0, 0, 0, 0, 1, 0, 1];
        await socket.SendToAsync(request, new IPEndPoint(to, 0), patience.Token);
        var answer = new byte[1500];
        while (true)
        {
            // A raw IPv4 socket hands out the IP header too; an IPv6 one sees neighbour discovery.
            await socket.ReceiveAsync(answer, patience.Token);
            int type = answer[isV4 ? (answer[0] & 15) * 4 : 0];
            if (isV4 || type < 133)
                return type;
        }
    });
}
