using System.Net;

namespace Ravel.Agent.Networking;

/// <summary>Settings of the node's network.</summary>
public sealed record NodeNetworkOptions
{
    /// <summary>
    /// Private ranges that guests may reach, <c>ADDRESS/LENGTH</c> of either family. Without them guests reach the internet and
    /// their own network only, not the operator's hosts.
    /// </summary>
    public IReadOnlyList<string> AllowedPrivateRanges { get; init; } = [];

    /// <summary>resolv.conf(5) of the host; its first IPv4 nameserver answers the guests.</summary>
    public string ResolvConf { get; init; } = "/etc/resolv.conf";

    /// <summary>Where systemd-resolved names the servers behind its stub, which answers nobody but the host.</summary>
    public string SystemdResolvConf { get; init; } = "/run/systemd/resolve/resolv.conf";

    /// <summary>The user that may open the taps; null leaves them to root.</summary>
    public uint? TapOwner { get; init; }

    /// <exception cref="FormatException">A range is not one.</exception>
    internal IReadOnlyList<IPNetwork> ParseAllowedRanges() => [.. AllowedPrivateRanges.Select(range =>
        IPNetwork.TryParse(range, out var network)
            ? network
            : throw new FormatException($"'{range}' is no address range (ADDRESS/LENGTH, with zeros after the prefix) that guests could be allowed to reach."))];
}
