using Ravel.Linux.Processes;

namespace Ravel.Testing.EndToEnd;

/// <summary>
/// A Linux network namespace with loopback up and a default route over a veth whose other end is up in a second namespace,
/// so that forwarding and NAT have somewhere to send packets and nothing leaves the machine.
/// </summary>
public sealed class NetworkNamespace : IAsyncDisposable
{
    /// <summary>The host's own address on its uplink, and its neighbour there (documentation range, RFC 5737).</summary>
    public const string UplinkAddress = "192.0.2.2";
    public const string OutsideAddress = "192.0.2.1";

    private static int Next;
    private readonly string _name;

    private NetworkNamespace(string name) => _name = name;

    public string Outside => _name + "o";

    public string Name => _name;

    public static async Task<NetworkNamespace> CreateAsync()
    {
        var name = $"rve{Environment.ProcessId}-{Interlocked.Increment(ref Next)}";
        var @namespace = new NetworkNamespace(name);
        await IpAsync("netns", "add", name);
        await IpAsync("netns", "add", @namespace.Outside);
        await IpAsync("-n", name, "link", "set", "lo", "up");
        await IpAsync("-n", @namespace.Outside, "link", "set", "lo", "up");
        await IpAsync("-n", name, "link", "add", "uplink", "type", "veth", "peer", "name", "host", "netns", @namespace.Outside);
        await IpAsync("-n", name, "addr", "add", UplinkAddress + "/24", "dev", "uplink");
        await IpAsync("-n", name, "link", "set", "uplink", "up");
        await IpAsync("-n", @namespace.Outside, "addr", "add", OutsideAddress + "/24", "dev", "host");
        await IpAsync("-n", @namespace.Outside, "link", "set", "host", "up");
        await IpAsync("-n", name, "route", "add", "default", "via", OutsideAddress);
        return @namespace;
    }

    /// <summary>Runs a program to its end inside.</summary>
    public Task<CommandResult> RunAsync(string program, IReadOnlyList<string> arguments, string? input = null, TimeSpan? timeout = null) =>
        CommandRunner.RunAsync("nsenter", [Enter(_name), program, .. arguments], input, timeout);

    /// <summary>Starts a program inside (or in the namespace its uplink leads to).</summary>
    public BackgroundProgram Start(string program, IReadOnlyList<string> arguments, bool outside = false) =>
        new("nsenter", [Enter(outside ? Outside : _name), program, .. arguments]);

    public async ValueTask DisposeAsync()
    {
        await CommandRunner.RunAsync("ip", ["netns", "del", _name]);
        await CommandRunner.RunAsync("ip", ["netns", "del", Outside]);
    }

    /// <summary>Unlike <c>ip netns exec</c>, nsenter(1) leaves /sys as it is, with the control groups below it.</summary>
    private static string Enter(string name) => $"--net=/run/netns/{name}";

    private static Task<string> IpAsync(params string[] arguments) => CommandRunner.RunCheckedAsync("ip", arguments);
}
