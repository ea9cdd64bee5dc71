using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Ravel.Linux.Network;

/// <summary>
/// Links, addresses, routes and neighbours of the network namespace it was opened in (rtnetlink(7)). Every change is
/// idempotent: made when missing, corrected when different. Not spawning <c>ip</c> saves milliseconds per machine.
/// </summary>
public sealed partial class RouteNetlink : IDisposable
{
    private const ushort NewLink = 16, DeleteLinkType = 17, GetLink = 18;
    private const ushort NewAddress = 20, GetAddress = 22;
    private const ushort NewRoute = 24, GetRoute = 26;
    private const ushort NewNeighbour = 28;

    private const ushort LinkName = 3, LinkMtu = 4, LinkStatistics = 23, LinkAfSpec = 26, Inet6AddressGeneration = 8;
    private const ushort AddressAddress = 1, AddressLocal = 2, AddressFlags = 8;
    private const ushort RouteDestination = 1, RouteDevice = 4, RoutePreferredSource = 7, RouteTable = 15;
    private const ushort NeighbourDestination = 1, NeighbourLinkAddress = 2;

    private const uint FlagUp = 1;
    private const byte GenerateNone = 1;
    private const uint NoDuplicateDetection = 0x02, NoPrefixRoute = 0x200;
    private const byte MainTable = 254, ProtocolStatic = 4, ScopeUniverse = 0, ScopeLink = 253, TypeUnicast = 1;
    private const ushort Permanent = 0x80;

    private readonly NetlinkSocket _socket = new(NetlinkSocket.RouteProtocol);

    public void Dispose() => _socket.Dispose();

    /// <summary>The index of a link, null when there is none of that name.</summary>
    public static int? IndexOf(string name) => NetworkCalls.IndexOf(name) is var index and > 0 ? (int)index : null;

    public IReadOnlyList<Link> ListLinks()
    {
        var links = new List<Link>();
        _socket.List(
            NetlinkMessage.Create(GetLink, NetlinkSocket.Request | NetlinkSocket.Dump, new IfInfoMsg()),
            "listing network interfaces",
            links.Clear,
            (type, payload) =>
            {
                if (type != NewLink || payload.Length < Unsafe.SizeOf<IfInfoMsg>())
                    return;
                var header = MemoryMarshal.Read<IfInfoMsg>(payload);
                var attributes = payload[Unsafe.SizeOf<IfInfoMsg>()..];
                links.Add(new Link(
                    header.Index,
                    Encoding.UTF8.GetString(NetlinkAttributes.Find(attributes, LinkName).TrimEnd((byte)0)),
                    (header.Flags & FlagUp) != 0,
                    (int)ReadUInt32(NetlinkAttributes.Find(attributes, LinkMtu)),
                    ReadTraffic(NetlinkAttributes.Find(attributes, LinkStatistics))));
            });
        return links;
    }

    /// <summary>Sets a link up with this MTU, and keeps IPv6 from inventing addresses for it.</summary>
    /// <exception cref="LinuxNetworkException">The kernel refused.</exception>
    public void SetUp(int link, int mtu, bool hasIPv6)
    {
        var purpose = $"setting up interface {link}";
        if (hasIPv6)
        {
            // Before the link is up: going up is what makes the kernel invent a link-local address.
            Execute(
                NetlinkMessage.Create(NewLink, NetlinkSocket.Request | NetlinkSocket.Acknowledge, new IfInfoMsg { Index = link })
                    .Nest(LinkAfSpec, spec => spec.Nest(NetworkCalls.AfInet6, inet6 => inet6.Add(Inet6AddressGeneration, GenerateNone))),
                purpose);
        }
        Execute(
            NetlinkMessage.Create(
                NewLink,
                NetlinkSocket.Request | NetlinkSocket.Acknowledge,
                new IfInfoMsg { Index = link, Flags = FlagUp, Change = FlagUp })
                .Add(LinkMtu, (uint)mtu),
            purpose);
    }

    /// <summary>Removes a link with its addresses, routes and neighbours. One that is gone already is fine.</summary>
    /// <exception cref="LinuxNetworkException">The kernel refused.</exception>
    public void DeleteLink(int link) => Execute(
        NetlinkMessage.Create(
            DeleteLinkType, NetlinkSocket.Request | NetlinkSocket.Acknowledge, new IfInfoMsg { Index = link }),
        $"removing interface {link}",
        Errno.NoDevice);

    /// <summary>Gives a link an address that is usable at once (no duplicate detection) and brings no route of its own.</summary>
    /// <exception cref="LinuxNetworkException">The kernel refused.</exception>
    public void AddAddress(int link, IPAddress address, int prefixLength) => Execute(
        NetlinkMessage.Create(
            NewAddress,
            NetlinkSocket.Request | NetlinkSocket.Acknowledge | NetlinkSocket.Create | NetlinkSocket.Replace,
            new IfAddrMsg
            {
                Family = FamilyOf(address),
                PrefixLen = (byte)prefixLength,
                Scope = address.IsIPv6LinkLocal ? ScopeLink : ScopeUniverse,
                Index = (uint)link,
            })
            .Add(AddressLocal, address.GetAddressBytes())
            .Add(AddressAddress, address.GetAddressBytes())
            .Add(AddressFlags, NoDuplicateDetection | NoPrefixRoute),
        $"giving interface {link} the address {address}/{prefixLength}",
        Errno.Exists);

    public IReadOnlyList<LinkAddress> ListAddresses()
    {
        var addresses = new List<LinkAddress>();
        _socket.List(
            NetlinkMessage.Create(GetAddress, NetlinkSocket.Request | NetlinkSocket.Dump, new IfAddrMsg()),
            "listing addresses",
            addresses.Clear,
            (type, payload) =>
            {
                if (type != NewAddress || payload.Length < Unsafe.SizeOf<IfAddrMsg>())
                    return;
                var header = MemoryMarshal.Read<IfAddrMsg>(payload);
                var attributes = payload[Unsafe.SizeOf<IfAddrMsg>()..];
                // On a point-to-point link IFA_ADDRESS is the peer's; IPv6 has no IFA_LOCAL otherwise.
                var bytes = NetlinkAttributes.Find(attributes, AddressLocal);
                if (bytes.IsEmpty)
                    bytes = NetlinkAttributes.Find(attributes, AddressAddress);
                if (bytes.Length is 4 or 16)
                    addresses.Add(new LinkAddress((int)header.Index, new IPAddress(bytes), header.PrefixLen));
            });
        return addresses;
    }

    /// <summary>Routes one host to a link.</summary>
    /// <param name="source">The address this host uses toward it, null for the kernel's choice.</param>
    /// <exception cref="LinuxNetworkException">The kernel refused.</exception>
    public void ReplaceHostRoute(IPAddress destination, int link, IPAddress? source)
    {
        var bytes = destination.GetAddressBytes();
        var message = NetlinkMessage.Create(
            NewRoute,
            NetlinkSocket.Request | NetlinkSocket.Acknowledge | NetlinkSocket.Create | NetlinkSocket.Replace,
            new RtMsg
            {
                Family = FamilyOf(destination),
                DstLen = (byte)(bytes.Length * 8),
                Table = MainTable,
                Protocol = ProtocolStatic,
                Scope = bytes.Length == 4 ? ScopeLink : ScopeUniverse,
                Type = TypeUnicast,
            })
            .Add(RouteDestination, bytes)
            .Add(RouteDevice, (uint)link);
        if (source is not null)
            message.Add(RoutePreferredSource, source.GetAddressBytes());
        Execute(message, $"routing {destination} to interface {link}");
    }

    /// <summary>The main tables' routes of both families.</summary>
    public IReadOnlyList<Route> ListRoutes()
    {
        var routes = new List<Route>();
        _socket.List(
            NetlinkMessage.Create(GetRoute, NetlinkSocket.Request | NetlinkSocket.Dump, new RtMsg()),
            "listing routes",
            routes.Clear,
            (type, payload) =>
            {
                if (type != NewRoute || payload.Length < Unsafe.SizeOf<RtMsg>())
                    return;
                var header = MemoryMarshal.Read<RtMsg>(payload);
                var attributes = payload[Unsafe.SizeOf<RtMsg>()..];
                var table = NetlinkAttributes.Find(attributes, RouteTable);
                if ((table.Length == 4 ? ReadUInt32(table) : header.Table) != MainTable || header.Type != TypeUnicast)
                    return;
                var destination = NetlinkAttributes.Find(attributes, RouteDestination);
                var any = header.Family == NetworkCalls.AfInet ? IPAddress.Any : IPAddress.IPv6Any;
                routes.Add(new Route(
                    destination.Length is 4 or 16 ? new IPAddress(destination) : any,
                    header.DstLen,
                    (int)ReadUInt32(NetlinkAttributes.Find(attributes, RouteDevice))));
            });
        return routes;
    }

    /// <summary>
    /// Fixes the MAC address of a neighbour: the kernel neither asks for it nor believes what the neighbour says about it.
    /// </summary>
    /// <exception cref="LinuxNetworkException">The kernel refused.</exception>
    public void ReplaceNeighbour(int link, IPAddress address, PhysicalAddress mac) => Execute(
        NetlinkMessage.Create(
            NewNeighbour,
            NetlinkSocket.Request | NetlinkSocket.Acknowledge | NetlinkSocket.Create | NetlinkSocket.Replace,
            new NdMsg { Family = FamilyOf(address), IfIndex = link, State = Permanent })
            .Add(NeighbourDestination, address.GetAddressBytes())
            .Add(NeighbourLinkAddress, mac.GetAddressBytes()),
        $"fixing the MAC address of {address} on interface {link}");

    private void Execute(NetlinkMessage message, string purpose, int fine = 0)
    {
        var errno = _socket.Execute(message, purpose);
        if (errno != 0 && errno != fine)
            throw new LinuxNetworkException(purpose, errno);
    }

    private static byte FamilyOf(IPAddress address) =>
        address.AddressFamily == AddressFamily.InterNetwork ? (byte)NetworkCalls.AfInet : (byte)NetworkCalls.AfInet6;

    private static uint ReadUInt32(ReadOnlySpan<byte> value) => value.Length == 4 ? MemoryMarshal.Read<uint>(value) : 0;
}

/// <param name="Index">Unique in its network namespace, never reused soon.</param>
/// <param name="Mtu">Bytes.</param>
/// <param name="Traffic">Since it was made.</param>
public sealed record Link(int Index, string Name, bool IsUp, int Mtu, LinkTraffic Traffic);

/// <summary>What a link received and sent, as the host sees it.</summary>
public readonly record struct LinkTraffic(long ReceivedBytes, long ReceivedPackets, long SentBytes, long SentPackets);

/// <param name="Link">Index.</param>
public sealed record LinkAddress(int Link, IPAddress Address, int PrefixLength);

/// <param name="Destination">0.0.0.0 or :: with length 0 for a default route.</param>
/// <param name="Link">Index, 0 for a route over several links.</param>
public sealed record Route(IPAddress Destination, int PrefixLength, int Link);
