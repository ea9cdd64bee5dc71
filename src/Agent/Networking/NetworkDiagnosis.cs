using System.Net;
using System.Text.Json;
using Ravel.Linux.Network;
using Ravel.Linux.Processes;

namespace Ravel.Agent.Networking;

/// <summary>What stands between guests and their network on this host, for <c>ravel doctor</c>.</summary>
public static class NetworkDiagnosis
{
    private static readonly IPNetwork Shared = IPNetwork.Parse("100.64.0.0/10");

    /// <summary>Looks, changes nothing. As root; in the network namespace of the calling thread.</summary>
    public static async Task<IReadOnlyList<NetworkFinding>> DiagnoseAsync(NodeNetworkOptions options, CancellationToken cancellationToken)
    {
        var findings = new List<NetworkFinding>();
        if (!File.Exists("/dev/net/tun"))
            findings.Add(NetworkFinding.Problem("tap", "/dev/net/tun is missing: guests cannot be connected", "modprobe tun"));
        findings.AddRange(await AskNftAsync(cancellationToken));
        findings.AddRange(await AskLegacyTablesAsync(cancellationToken));

        if (HostResolver.Read(options) is null)
        {
            findings.Add(NetworkFinding.Problem(
                "dns", $"{options.ResolvConf} names no IPv4 nameserver: guests cannot resolve names", $"add a line 'nameserver ADDRESS' to {options.ResolvConf}"));
        }
        if (Sysctl.Read("ipv4/conf/all/forwarding") != "1" && IsReadOnlySysctl(await File.ReadAllTextAsync("/proc/self/mounts", cancellationToken)))
        {
            findings.Add(NetworkFinding.Problem(
                "forwarding", "/proc/sys is read-only and forwarding is off", "start raveld where /proc/sys/net can be written (in a container: privileged)"));
        }
        if (!Sysctl.Exists("ipv6/conf/all/forwarding"))
            findings.Add(NetworkFinding.Note("ipv6", "this kernel has no IPv6: guests have IPv4 only", "boot without ipv6.disable=1"));
        findings.AddRange(FindOverlaps());
        return findings;
    }

    /// <summary>
    /// Finds, in <c>nft -j list chains</c>, other people's chains that drop what they do not know. An accept in one table does not overrule a
    /// drop in another, so that Ravel cannot help itself; letting its interfaces through there is safe, because its own table
    /// decides about every packet of theirs.
    /// </summary>
    internal static IReadOnlyList<NetworkFinding> JudgeChains(string json)
    {
        var findings = new List<NetworkFinding>();
        using var document = JsonDocument.Parse(json);
        foreach (var item in document.RootElement.GetProperty("nftables").EnumerateArray())
        {
            if (!item.TryGetProperty("chain", out var chain) || Text(chain, "policy") != "drop" && Text(chain, "table") != "firewalld")
                continue;
            var (family, table, hook) = (Text(chain, "family"), Text(chain, "table"), Text(chain, "hook"));
            if (hook is not ("forward" or "input") || table.StartsWith("ravel_", StringComparison.Ordinal))
                continue;
            if (table == "firewalld")
            {
                if (hook == "forward")
                {
                    findings.Add(NetworkFinding.Problem(
                        "firewall", "firewalld rejects packets of interfaces it does not know, guests' among them", "firewall-cmd --permanent --zone=trusted --add-interface=rv+ && firewall-cmd --reload"));
                }
                continue;
            }

            var message = hook == "forward"
                ? $"chain {Text(chain, "name")} of table {family} {table} drops forwarded packets by default, guests' among them"
                : $"chain {Text(chain, "name")} of table {family} {table} drops what comes to this host by default: guests cannot ask a nameserver on this host";
            findings.Add(hook == "forward"
                ? NetworkFinding.Problem("firewall", message, Remedy(family, table, Text(chain, "name"), hook))
                : NetworkFinding.Note("firewall", message, Remedy(family, table, Text(chain, "name"), hook)));
        }
        return findings;
    }

    /// <summary>Whether /proc/self/mounts has a read-only mount over /proc/sys or above.</summary>
    internal static bool IsReadOnlySysctl(string mounts)
    {
        var readOnly = false;
        foreach (var line in mounts.Split('\n'))
        {
            // device, mount point, type, options; the last mount on the longest path counts, and they are listed in that order.
            if (line.Split(' ') is [_, "/proc" or "/proc/sys" or "/proc/sys/net", _, var options, ..])
                readOnly = options.Split(',').Contains("ro");
        }
        return readOnly;
    }

    private static string Remedy(string family, string table, string chain, string hook)
    {
        // iptables made these (iptables-nft calls them filter FORWARD), so iptables should change them; ip6tables for ip6.
        if (table == "filter" && family is "ip" or "ip6" && chain is "FORWARD" or "INPUT")
        {
            var program = family == "ip" ? "iptables" : "ip6tables";
            return hook == "forward"
                ? $"{program} -I FORWARD -i rv+ -j ACCEPT && {program} -I FORWARD -o rv+ -j ACCEPT"
                : $"{program} -I INPUT -i rv+ -j ACCEPT";
        }
        return hook == "forward"
            ? $"nft insert rule {family} {table} {chain} iifname 'rv*' accept; nft insert rule {family} {table} {chain} oifname 'rv*' accept"
            : $"nft insert rule {family} {table} {chain} iifname 'rv*' accept";
    }

    private static async Task<IReadOnlyList<NetworkFinding>> AskNftAsync(CancellationToken cancellationToken)
    {
        try
        {
            return JudgeChains(await CommandRunner.RunCheckedAsync("nft", ["-j", "list", "chains"], cancellationToken: cancellationToken));
        }
        catch (CommandException e)
        {
            return [NetworkFinding.Problem("nftables", e.Message.ReplaceLineEndings(" "), "install nftables (apt-get install nftables), run as root, with a kernel that has nf_tables")];
        }
    }

    /// <summary>Tables of the old iptables are invisible to nft.</summary>
    private static async Task<IReadOnlyList<NetworkFinding>> AskLegacyTablesAsync(CancellationToken cancellationToken)
    {
        if (!File.Exists("/proc/net/ip_tables_names") || !(await File.ReadAllTextAsync("/proc/net/ip_tables_names", cancellationToken)).Contains("filter"))
            return [];
        try
        {
            var chain = await CommandRunner.RunAsync("iptables-legacy", ["-S", "FORWARD"], cancellationToken: cancellationToken);
            if (!chain.Output.Contains("-P FORWARD DROP", StringComparison.Ordinal))
                return [];
        }
        catch (CommandException)
        {
            return [];
        }
        return
        [
            NetworkFinding.Problem(
                "firewall",
                "iptables-legacy drops forwarded packets by default, guests' among them",
                "iptables-legacy -I FORWARD -i rv+ -j ACCEPT && iptables-legacy -I FORWARD -o rv+ -j ACCEPT"),
        ];
    }

    /// <summary>Guests' IPv4 addresses come from the shared address space, which carriers and VPNs use too.</summary>
    private static IReadOnlyList<NetworkFinding> FindOverlaps()
    {
        using var netlink = new RouteNetlink();
        var names = netlink.ListLinks().ToDictionary(link => link.Index, link => link.Name);
        return
        [
            .. netlink.ListAddresses()
                .Where(address => Shared.Contains(address.Address))
                .Select(address => (Name: names.GetValueOrDefault(address.Link, "?"), address.Address))
                .Where(address => !address.Name.StartsWith("rv", StringComparison.Ordinal))
                .Select(address => NetworkFinding.Note(
                    "addresses",
                    $"{address.Name} has {address.Address}, of the range {Shared} that guests get their IPv4 addresses from",
                    "if guests or that network misbehave, let its firewall pass interfaces rv*, or use another slot (ravel up with another --data)")),
        ];
    }

    private static string Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";
}

/// <param name="Subject">One word: what it is about.</param>
/// <param name="IsProblem">Guests suffer; otherwise only worth knowing.</param>
/// <param name="Message">One line.</param>
/// <param name="Remedy">A command or an instruction, one line.</param>
public sealed record NetworkFinding(string Subject, bool IsProblem, string Message, string Remedy)
{
    internal static NetworkFinding Problem(string subject, string message, string remedy) => new(subject, true, message, remedy);

    internal static NetworkFinding Note(string subject, string message, string remedy) => new(subject, false, message, remedy);
}
