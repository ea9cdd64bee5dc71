using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;
using Ravel.Agent.Hosting;
using Ravel.Linux.Network;

namespace Ravel.Agent.Networking;

/// <summary>
/// The taps of one slot, with what hangs on them: the gateway's addresses, the guest's routes and its fixed neighbour
/// entries. All of it goes with the tap. Every step is idempotent; a tap a VMM has open is brought right under it.
/// </summary>
internal sealed class TapDevices(HostSlot slot, uint? owner) : IDisposable
{
    private readonly RouteNetlink _netlink = new();

    internal bool HasIPv6 { get; } = Sysctl.Exists("ipv6/conf/all/forwarding");

    public void Dispose() => _netlink.Dispose();

    /// <summary>Makes the tap, or corrects it.</summary>
    /// <returns>False when it was there already.</returns>
    internal bool Ensure(GuestAddresses guest, int mtu)
    {
        var existing = RouteNetlink.IndexOf(guest.Tap);
        if (existing is null)
            Tap.CreatePersistent(guest.Tap, owner);
        var link = existing ?? RouteNetlink.IndexOf(guest.Tap)
            ?? throw new IOException($"tap {guest.Tap} vanished while it was being set up");

        SetUpIPv4(guest.Tap);
        if (HasIPv6)
            SetUpIPv6(guest.Tap);
        _netlink.SetUp(link, mtu, HasIPv6);
        Limit(guest, link, isNew: existing is null);

        var mac = PhysicalAddress.Parse(guest.Mac);
        // The gateway is on every tap, not on one device for all: the kernel answers ARP and neighbour discovery for it whatever
        // the host's arp_ignore is, and nothing is left when the last tap goes.
        _netlink.AddAddress(link, slot.Addresses.GatewayV4, 32);
        _netlink.ReplaceNeighbour(link, guest.V4, mac);
        _netlink.ReplaceHostRoute(guest.V4, link, slot.Addresses.GatewayV4);
        if (HasIPv6)
        {
            _netlink.AddAddress(link, SlotAddresses.GatewayV6, 64);
            _netlink.ReplaceNeighbour(link, guest.V6, mac);
            _netlink.ReplaceNeighbour(link, guest.LinkLocal, mac);
            _netlink.ReplaceHostRoute(guest.V6, link, source: null);
        }
        return existing is null;
    }

    /// <summary>Makes what goes to the guest wait; what comes from it the packet filter drops where it is too much.</summary>
    internal void Limit(GuestAddresses guest)
    {
        if (RouteNetlink.IndexOf(guest.Tap) is { } link)
            Limit(guest, link, isNew: false);
    }

    /// <summary>Of this slot's taps, by name. What a tap receives its guest has sent.</summary>
    internal IReadOnlyDictionary<string, GuestTraffic> ReadTraffic() => _netlink.ListLinks()
        .Where(link => link.Name.StartsWith(slot.TapPrefix, StringComparison.Ordinal))
        .ToDictionary(
            link => link.Name,
            link => new GuestTraffic(link.Traffic.SentBytes, link.Traffic.SentPackets, link.Traffic.ReceivedBytes, link.Traffic.ReceivedPackets));

    /// <summary>Removes a tap. One that is gone is fine.</summary>
    internal void Remove(string tap)
    {
        if (RouteNetlink.IndexOf(tap) is { } link)
            _netlink.DeleteLink(link);
    }

    /// <summary>Removes this slot's taps that <paramref name="wanted"/> does not name.</summary>
    /// <returns>The addresses that were routed to them.</returns>
    internal IReadOnlyList<IPAddress> RemoveOthers(IReadOnlySet<string> wanted)
    {
        var strays = _netlink.ListLinks()
            .Where(link => link.Name.StartsWith(slot.TapPrefix, StringComparison.Ordinal) && !wanted.Contains(link.Name))
            .Select(link => link.Index)
            .ToHashSet();
        if (strays.Count == 0)
            return [];
        var addresses = _netlink.ListRoutes()
            .Where(route => strays.Contains(route.Link) && route.PrefixLength == route.Destination.GetAddressBytes().Length * 8)
            .Select(route => route.Destination)
            .ToList();
        foreach (var stray in strays)
            _netlink.DeleteLink(stray);
        return addresses;
    }

    /// <summary>How this host is connected, Ravel's own taps left out.</summary>
    internal HostUplinks FindUplinks()
    {
        var links = _netlink.ListLinks();
        var ours = links.Where(link => link.Name.StartsWith("rv", StringComparison.Ordinal) && link.Name.Contains('-')).Select(link => link.Index).ToHashSet();
        var withDefault = _netlink.ListRoutes().Where(route => route.PrefixLength == 0).Select(route => route.Link).ToHashSet();
        var withAddress = _netlink.ListAddresses()
            .Where(address => !IPAddress.IsLoopback(address.Address) && !address.Address.IsIPv6LinkLocal && !ours.Contains(address.Link))
            .Select(address => address.Link)
            .ToHashSet();
        var mtu = links.Where(link => withDefault.Contains(link.Index)).Select(link => link.Mtu).DefaultIfEmpty(HostUplinks.MaxMtu).Min();
        return new HostUplinks(
            [.. links.Where(link => withAddress.Contains(link.Index) || withDefault.Contains(link.Index)).Select(link => link.Name).Where(name => name != "lo")],
            Math.Clamp(mtu, HostUplinks.MinMtu, HostUplinks.MaxMtu));
    }

    private void Limit(GuestAddresses guest, int link, bool isNew)
    {
        if (guest.BytesPerSecond is { } bytes)
            _netlink.ShapeTraffic(link, (uint)bytes);
        else if (!isNew)
            _netlink.RemoveShaping(link);
    }

    private static void SetUpIPv4(string tap)
    {
        var conf = $"ipv4/conf/{tap}/";
        Sysctl.Write(conf + "forwarding", "1");
        // A connection to 127.0.0.1 that is redirected here leaves, and comes back, with a loopback address.
        Sysctl.Write(conf + "route_localnet", "1");
        Sysctl.Write(conf + "rp_filter", "1");
        // No answer for addresses of other interfaces.
        Sysctl.Write(conf + "arp_ignore", "1");
        Sysctl.Write(conf + "accept_redirects", "0");
        Sysctl.Write(conf + "send_redirects", "0");
        Sysctl.Write(conf + "proxy_arp", "0");
    }

    private static void SetUpIPv6(string tap)
    {
        var conf = $"ipv6/conf/{tap}/";
        Sysctl.Write(conf + "disable_ipv6", "0");
        Sysctl.Write(conf + "accept_ra", "0");
        Sysctl.Write(conf + "accept_dad", "0");
        Sysctl.Write(conf + "router_solicitations", "0");
        Sysctl.Write(conf + "accept_redirects", "0");
        Sysctl.Write(conf + "forwarding", "1");
        if (Sysctl.Exists(conf + HostForwarding.ForceForwarding))
            Sysctl.Write(conf + HostForwarding.ForceForwarding, "1");
    }
}

/// <param name="Interfaces">Names of the interfaces with addresses that are not the loopback's or a tap's.</param>
/// <param name="Mtu">Bytes: the smallest of the interfaces with a default route.</param>
internal sealed record HostUplinks(IReadOnlyList<string> Interfaces, int Mtu)
{
    internal const int MaxMtu = 1500;

    /// <summary>The least that IPv6 works with (RFC 8200).</summary>
    internal const int MinMtu = 1280;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{string.Join(", ", Interfaces)} (MTU {Mtu})");
}
