using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Ravel.Agent.Networking;

/// <summary>
/// Renders the node's packet rules as one nft(8) script. It removes the tables and makes them anew in one transaction, so
/// that no packet ever meets half of them; connections live in the kernel's connection table and are not touched. What
/// grows with machines are sets and maps: a packet costs the same with one machine and with thousands.
/// </summary>
internal static class NftTable
{
    /// <summary>What guests never reach unless allowed: this host, the operator's networks, metadata services, other guests.</summary>
    private const string DeniedV4 =
        "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 224.0.0.0/3";

    private const string DeniedV6 = "::/96, fc00::/7, fe80::/10, ff00::/8";

    internal static string RenderRemoval(string table) => string.Create(CultureInfo.InvariantCulture, $"""
        table inet {table}
        delete table inet {table}
        table arp {table}
        delete table arp {table}

        """);

    internal static string Render(PacketRules rules)
    {
        var guests = rules.Guests.OrderBy(guest => guest.Index).ToList();
        var networks = guests.GroupBy(guest => guest.Network).OrderBy(network => network.Key).ToList();
        var text = new StringBuilder(RenderRemoval(rules.Table));

        text.Append(CultureInfo.InvariantCulture, $"table inet {rules.Table} {{\n");
        Sets(text, rules, guests, networks);
        var limited = guests.Where(guest => guest.BytesPerSecond is not null).ToList();
        foreach (var guest in limited)
            text.Append(CultureInfo.InvariantCulture, $"\tlimit sent_{guest.Index} {{\n\t\trate over {guest.BytesPerSecond} bytes/second burst {guest.BytesPerSecond} bytes\n\t}}\n");
        Spoofing(text, rules, limited);
        Forwarding(text, rules);
        ToHost(text, rules);
        Translation(text, rules);
        text.Append("}\n");

        text.Append(CultureInfo.InvariantCulture, $"table arp {rules.Table} {{\n");
        Elements(text, "set senders", "ifname . ether_addr . ipv4_addr", guests.Select(g => $"\"{g.Tap}\" . {g.Mac} . {g.V4}"));
        Chain(text, "input", "type filter hook input priority filter; policy accept;", $"iifname \"{rules.TapPrefix}*\" goto from_guest");
        Chain(
            text,
            "from_guest",
            null,
            // Guests ask for their gateway, as themselves, and for nothing else.
            $"iifname . arp saddr ether . arp saddr ip @senders arp daddr ip {rules.GatewayV4} accept",
            "drop");
        text.Append("}\n");
        return text.ToString();
    }

    private static void Sets(
        StringBuilder text, PacketRules rules, List<GuestAddresses> guests, List<IGrouping<int, GuestAddresses>> networks)
    {
        Elements(text, "set sources4", "ifname . ether_addr . ipv4_addr", guests.Select(g => $"\"{g.Tap}\" . {g.Mac} . {g.V4}"));
        Elements(
            text,
            "set sources6",
            "ifname . ether_addr . ipv6_addr",
            guests.SelectMany(g => new[] { $"\"{g.Tap}\" . {g.Mac} . {g.V6}", $"\"{g.Tap}\" . {g.Mac} . {g.LinkLocal}" }));

        foreach (var network in networks)
            Elements(text, $"set network_{network.Key}", "ifname", network.Select(g => $"\"{g.Tap}\""));
        foreach (var network in networks)
            Chain(text, $"to_network_{network.Key}", null, $"oifname @network_{network.Key} accept", "reject with icmpx admin-prohibited");
        Elements(text, "map networks", "ifname : verdict", guests.Select(g => $"\"{g.Tap}\" : goto to_network_{g.Network}"));

        Ranges(text, "allowed4", "ipv4_addr", string.Join(", ", rules.Allowed.Where(IsV4)));
        Ranges(text, "allowed6", "ipv6_addr", string.Join(", ", rules.Allowed.Where(range => !IsV4(range))));
        Ranges(text, "denied4", "ipv4_addr", DeniedV4);
        Ranges(text, "denied6", "ipv6_addr", DeniedV6);

        var ports = guests.SelectMany(guest => guest.Ports.Select(port => (Guest: guest, Port: port))).ToList();
        Elements(
            text,
            "map published_on",
            "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
            ports.Where(p => p.Port.HostAddress is not null)
                .Select(p => $"{p.Port.HostAddress} . {p.Port.Protocol} . {p.Port.HostPort} : {p.Guest.V4} . {p.Port.GuestPort}"));
        Elements(
            text,
            "map published4",
            "inet_proto . inet_service : ipv4_addr . inet_service",
            ports.Where(p => p.Port.HostAddress is null)
                .Select(p => $"{p.Port.Protocol} . {p.Port.HostPort} : {p.Guest.V4} . {p.Port.GuestPort}"));
        Elements(
            text,
            "map published6",
            "inet_proto . inet_service : ipv6_addr . inet_service",
            ports.Where(p => p.Port.HostAddress is null)
                .Select(p => $"{p.Port.Protocol} . {p.Port.HostPort} : {p.Guest.V6} . {p.Port.GuestPort}"));
    }

    /// <summary>Before connection tracking, so that a forged packet leaves no trace there either.</summary>
    private static void Spoofing(StringBuilder text, PacketRules rules, IReadOnlyList<GuestAddresses> limited)
    {
        // One lookup, whatever their number; who is not in the map goes on.
        string[] limits = limited.Count == 0
            ? []
            : [$"limit name iifname map {{ {string.Join(", ", limited.Select(g => $"\"{g.Tap}\" : \"sent_{g.Index}\""))} }} drop"];
        Chain(text, "arriving", "type filter hook prerouting priority raw; policy accept;", $"iifname \"{rules.TapPrefix}*\" goto from_guest");
        Chain(
            text,
            "from_guest",
            null,
            [.. limits,
            // Taps route loopback addresses (see published ports); from the guest's side that must not be a way in.
            "ip daddr 127.0.0.0/8 drop",
            "iifname . ether saddr . ip saddr @sources4 accept",
            "iifname . ether saddr . ip6 saddr @sources6 accept",
            "drop"]);
    }

    private static void Forwarding(StringBuilder text, PacketRules rules)
    {
        const string FitSegments = "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu";
        Chain(
            text,
            "forward",
            "type filter hook forward priority filter; policy accept;",
            $"iifname \"{rules.TapPrefix}*\" goto forward_from_guest",
            $"oifname \"{rules.TapPrefix}*\" goto forward_to_guest");
        Chain(
            text,
            "forward_from_guest",
            null,
            FitSegments,
            "ct state established,related accept",
            "ct state invalid drop",
            $"oifname \"{rules.TapPrefix}*\" iifname vmap @networks",
            // Guests of another Ravel on this host.
            "oifname \"rv*\" reject with icmpx admin-prohibited",
            // DNS: only the rule for it translates the gateway's address.
            $"ct status dnat ct original ip daddr {rules.GatewayV4} accept",
            "ip daddr @allowed4 accept",
            "ip6 daddr @allowed6 accept",
            "ip daddr @denied4 reject with icmpx admin-prohibited",
            "ip6 daddr @denied6 reject with icmpx admin-prohibited",
            "accept");
        Chain(
            text,
            "forward_to_guest",
            null,
            FitSegments,
            "ct state established,related accept",
            "iifname \"rv*\" reject with icmpx admin-prohibited",
            // Published ports, and nothing else from outside, whatever routes others may have to here.
            "ct state new ct status dnat accept",
            "drop");
    }

    private static void ToHost(StringBuilder text, PacketRules rules)
    {
        Chain(text, "input", "type filter hook input priority filter; policy accept;", $"iifname \"{rules.TapPrefix}*\" goto to_host");
        Chain(
            text,
            "to_host",
            null,
            "ct state established,related accept",
            // DNS with a resolver on this host.
            $"ct status dnat ct original ip daddr {rules.GatewayV4} accept",
            $"ip daddr {rules.GatewayV4} icmp type echo-request accept",
            $"ip6 daddr {rules.GatewayV6} icmpv6 type echo-request accept",
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
            "fib daddr type { multicast, broadcast } drop",
            "reject with icmpx admin-prohibited");
    }

    private static void Translation(StringBuilder text, PacketRules rules)
    {
        var arriving = new List<string>();
        if (rules.Resolver is not null)
            arriving.Add($"iifname \"{rules.TapPrefix}*\" ip daddr {rules.GatewayV4} meta l4proto {{ tcp, udp }} th dport 53 dnat ip to {rules.Resolver}");
        // Ports are published to the outside, not to guests of whatever Ravel.
        arriving.Add("iifname \"rv*\" accept");
        // A neighbour may address 127.0.0.1 to this host's MAC; redirected it would pass for a packet the kernel has let in.
        arriving.Add("ip daddr 127.0.0.0/8 accept");
        arriving.Add("fib daddr type local goto published");
        Chain(text, "translate_arriving", "type nat hook prerouting priority dstnat; policy accept;", [.. arriving]);
        Chain(
            text,
            "translate_local",
            "type nat hook output priority -100; policy accept;",
            // The kernel routes 127.0.0.1 to a tap when told to, but never ::1.
            "ip6 daddr ::1 accept",
            "fib daddr type local goto published");
        Chain(
            text,
            "published",
            null,
            "dnat ip to ip daddr . meta l4proto . th dport map @published_on",
            "meta nfproto ipv4 dnat ip to meta l4proto . th dport map @published4",
            "meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @published6");
        Chain(
            text,
            "translate_leaving",
            "type nat hook postrouting priority srcnat; policy accept;",
            $"oifname \"{rules.TapPrefix}*\" ip saddr 127.0.0.0/8 snat ip to {rules.GatewayV4}",
            $"oifname \"{rules.TapPrefix}*\" accept",
            $"ip saddr {rules.RangeV4} masquerade",
            $"ip6 saddr {rules.RangeV6} masquerade");
    }

    private static void Chain(StringBuilder text, string name, string? hook, params ReadOnlySpan<string> rules)
    {
        text.Append(CultureInfo.InvariantCulture, $"\tchain {name} {{\n");
        if (hook is not null)
            text.Append(CultureInfo.InvariantCulture, $"\t\t{hook}\n");
        foreach (var rule in rules)
            text.Append(CultureInfo.InvariantCulture, $"\t\t{rule}\n");
        text.Append("\t}\n");
    }

    private static void Elements(StringBuilder text, string what, string type, IEnumerable<string> elements)
    {
        text.Append(CultureInfo.InvariantCulture, $"\t{what} {{\n\t\ttype {type}\n");
        // nft takes no empty list.
        var separator = "\t\telements = {\n\t\t\t";
        foreach (var element in elements)
        {
            text.Append(separator).Append(element);
            separator = ",\n\t\t\t";
        }
        text.Append(separator[0] == ',' ? "\n\t\t}\n\t}\n" : "\t}\n");
    }

    private static void Ranges(StringBuilder text, string name, string type, string ranges)
    {
        text.Append(CultureInfo.InvariantCulture, $"\tset {name} {{\n\t\ttype {type}\n\t\tflags interval\n\t\tauto-merge\n");
        if (ranges.Length > 0)
            text.Append(CultureInfo.InvariantCulture, $"\t\telements = {{ {ranges} }}\n");
        text.Append("\t}\n");
    }

    private static bool IsV4(IPNetwork range) => range.BaseAddress.AddressFamily == AddressFamily.InterNetwork;
}
