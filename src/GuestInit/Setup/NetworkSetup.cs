using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Ravel.Contracts.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Setup;

/// <summary>Loopback, and eth0 with routed addresses: nothing but the gateway is on the link.</summary>
internal static class NetworkSetup
{
    private const string Name = "eth0";
    private const int Loopback = 1;

    public static void Apply(NetworkConfig? network)
    {
        using var interfaces = new Interfaces();
        interfaces.SetUp(Loopback);
        if (network is null)
            return;
        var index = IndexOf(Name);
        // Addresses and routes come from the host alone, and are known to be unique.
        SetOption("accept_ra", "0");
        SetOption("accept_dad", "0");
        SetOption("dad_transmits", "0");
        interfaces.Configure(index, ParseMac(network.Mac), network.Mtu);
        interfaces.SetUp(index);
        AwaitCarrier();
        foreach (var address in network.Addresses)
        {
            var (ip, prefix) = ParseAddress(address);
            interfaces.AddAddress(index, ip, prefix);
        }
        foreach (var gateway in network.Gateways)
        {
            var ip = ParseIp(gateway);
            if (!ip.IsIPv6LinkLocal)
                interfaces.AddNeighbourRoute(index, ip);
            interfaces.AddDefaultRoute(index, ip);
        }
    }

    /// <summary>
    /// The driver learns of the link a moment after it is loaded; what a workload sends before the queues are active is lost. A link
    /// that was there before the interface came up has active queues at once, though operstate says so only with the kernel's next
    /// round of link events, up to a second later; one that comes after it is an urgent event (linkwatch_urgent_event of
    /// net/core/link_watch.c), which takes the kernel some milliseconds.
    /// </summary>
    private static void AwaitCarrier()
    {
        const int LongestMilliseconds = 1000;
        const int UrgentMilliseconds = 10;
        var withCarrier = 0;
        for (var waited = 0; waited < LongestMilliseconds && withCarrier <= UrgentMilliseconds; waited++)
        {
            if (!Reads("operstate", "down"u8))
                return;
            if (Reads("carrier", "1"u8))
                withCarrier++;
            Descriptors.Poll([], 1);
        }
    }

    private static bool Reads(string attribute, ReadOnlySpan<byte> beginning) =>
        FileSystems.ReadFile($"/sys/class/net/{Name}/{attribute}", 64) is { } value && value.AsSpan().StartsWith(beginning);

    internal static (IPAddress Address, int PrefixLength) ParseAddress(string text)
    {
        var slash = text.IndexOf('/');
        if (!IPAddress.TryParse(slash < 0 ? text : text[..slash], out var ip))
            throw Invalid("address", text);
        var longest = ip.AddressFamily == AddressFamily.InterNetwork ? 32 : 128;
        if (slash < 0)
            return (ip, longest);
        if (!int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var prefix) || prefix > longest)
            throw Invalid("address", text);
        return (ip, prefix);
    }

    internal static byte[] ParseMac(string text)
    {
        var parts = text.Split(':');
        var mac = new byte[6];
        if (parts.Length != mac.Length)
            throw Invalid("MAC address", text);
        for (var i = 0; i < mac.Length; i++)
        {
            if (!byte.TryParse(parts[i], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out mac[i]))
                throw Invalid("MAC address", text);
        }
        return mac;
    }

    private static IPAddress ParseIp(string text) => IPAddress.TryParse(text, out var ip) ? ip : throw Invalid("IP address", text);

    private static int IndexOf(string name)
    {
        var content = FileSystems.ReadFile($"/sys/class/net/{name}/ifindex", 64);
        return content is not null && int.TryParse(Encoding.ASCII.GetString(content).Trim(), out var index)
            ? index
            : throw new SetupException(SetupException.SetupFailed, $"there is no {name}: the VMM did not provide the interface, or the kernel has no driver for it");
    }

    private static void SetOption(string option, string value)
    {
        var path = $"/proc/sys/net/ipv6/conf/{Name}/{option}";
        if (FileSystems.Exists(path))
            FileSystems.WriteFile(path, Encoding.ASCII.GetBytes(value));
    }

    private static SetupException Invalid(string what, string text) => new(SetupException.SetupFailed, $"{text} is no {what}");
}
