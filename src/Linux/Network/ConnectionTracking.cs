using System.Net;
using System.Runtime.CompilerServices;

namespace Ravel.Linux.Network;

/// <summary>The kernel's table of connections (conntrack), over nfnetlink.</summary>
public static class ConnectionTracking
{
    private const ushort GetConnection = 0x101, DeleteConnection = 0x102; // NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*
    private const ushort TupleOriginal = 1, TupleReply = 2, Filter = 25;
    private const ushort TupleIp = 1, SourceV4 = 1, SourceV6 = 3;
    private const ushort FilterOriginal = 1, FilterReply = 2;
    private const uint FilterIpSource = 1;
    private const ushort Nested = 0x8000;

    /// <summary>
    /// Forgets every connection from or to a host: whoever gets its address next must not inherit them.
    /// </summary>
    /// <returns>How many there were.</returns>
    /// <exception cref="LinuxNetworkException">The kernel refused.</exception>
    public static int Forget(IPAddress host)
    {
        using var socket = new NetlinkSocket(NetlinkSocket.NetfilterProtocol);
        // What it opened has its address as the source; what was opened to it (perhaps through a published port) has it as the
        // source of the replies.
        return Forget(socket, host, TupleOriginal) + Forget(socket, host, TupleReply);
    }

    private static int Forget(NetlinkSocket socket, IPAddress host, ushort direction)
    {
        var address = host.GetAddressBytes();
        var sourceType = address.Length == 4 ? SourceV4 : SourceV6;
        var family = new NfGenMsg { Family = (byte)(address.Length == 4 ? NetworkCalls.AfInet : NetworkCalls.AfInet6) };
        var found = new List<byte[]>();
        // The kernel (5.8 and later) sends only what matches; an older one sends all, hence the second look.
        socket.List(
            NetlinkMessage.Create(GetConnection, NetlinkSocket.Request | NetlinkSocket.Dump, family)
                .Nest((ushort)(direction | Nested), tuple => tuple
                    .Nest(TupleIp | Nested, ip => ip.Add(sourceType, address)))
                .Nest(Filter | Nested, filter => filter
                    .Add(direction == TupleOriginal ? FilterOriginal : FilterReply, FilterIpSource)),
            $"listing the connections of {host}",
            found.Clear,
            (_, payload) =>
            {
                if (payload.Length < Unsafe.SizeOf<NfGenMsg>())
                    return;
                var attributes = payload[Unsafe.SizeOf<NfGenMsg>()..];
                var ip = NetlinkAttributes.Find(NetlinkAttributes.Find(attributes, direction), TupleIp);
                if (NetlinkAttributes.Find(ip, sourceType).SequenceEqual(address))
                    found.Add(NetlinkAttributes.Find(attributes, TupleOriginal).ToArray());
            });
        foreach (var tuple in found)
        {
            // Gone meanwhile is as good.
            _ = socket.Execute(
                NetlinkMessage.Create(DeleteConnection, NetlinkSocket.Request | NetlinkSocket.Acknowledge, family)
                    .Add(TupleOriginal | Nested, tuple),
                $"forgetting a connection of {host}");
        }
        return found.Count;
    }
}
