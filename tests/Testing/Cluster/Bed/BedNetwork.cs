using Ravel.Linux.Processes;

namespace Ravel.Testing.Cluster.Bed;

/// <summary>
/// A switch (a bridge in a network namespace of its own) and places with a cable to it, each a namespace with one address of
/// 198.18.0.0/24 (RFC 2544: for tests of networks). Nothing of it reaches any other network.
/// </summary>
internal sealed class BedNetwork : IAsyncDisposable
{
    /// <summary>The switch's own address, where what all share is served.</summary>
    public const string SwitchAddress = "198.18.0.1";

    /// <summary>Of who looks at the bed from the namespace it was made in.</summary>
    public const string OutsideAddress = "198.18.0.254";

    private const string Bridge = "switch";

    private static int Next;
    private readonly string _prefix;
    private readonly List<string> _places = [];
    private readonly Dictionary<string, SlowCable> _slow = [];

    private BedNetwork(string prefix) => _prefix = prefix;

    /// <summary>The namespace of the switch.</summary>
    public string Switch => _prefix + "s";

    /// <param name="isReachable">Whether the namespace of the caller gets a cable too.</param>
    public static async Task<BedNetwork> CreateAsync(bool isReachable)
    {
        var network = new BedNetwork($"rvb{Environment.ProcessId}-{Interlocked.Increment(ref Next)}");
        try
        {
            await network.AddNamespaceAsync(network.Switch);
            // An address of its own: else it takes that of a port, another one with each port.
            await IpAsync("-n", network.Switch, "link", "add", Bridge, "address", "02:00:c6:12:00:01", "type", "bridge");
            await IpAsync("-n", network.Switch, "addr", "add", SwitchAddress + "/24", "dev", Bridge);
            await IpAsync("-n", network.Switch, "link", "set", Bridge, "up");
            if (isReachable)
            {
                // Gone with the other end of it, and so with the switch.
                var cable = $"rvb{Environment.ProcessId}";
                await IpAsync("-n", network.Switch, "link", "add", "outside", "type", "veth", "peer", "name", cable, "netns", Environment.ProcessId.ToString());
                await network.PlugAsync("outside");
                await IpAsync("addr", "add", OutsideAddress + "/24", "dev", cable);
                await IpAsync("link", "set", cable, "up");
            }
            return network;
        }
        catch
        {
            await network.DisposeAsync();
            throw;
        }
    }

    /// <summary>A namespace with a cable to the switch.</summary>
    /// <returns>The namespace.</returns>
    public async Task<string> AddPlaceAsync(string name, string address)
    {
        var place = _prefix + name;
        await AddNamespaceAsync(place);
        await IpAsync("-n", Switch, "link", "add", name, "type", "veth", "peer", "name", "uplink", "netns", place);
        await PlugAsync(name);
        await IpAsync("-n", place, "addr", "add", address + "/24", "dev", "uplink");
        await IpAsync("-n", place, "link", "set", "uplink", "up");
        await IpAsync("-n", place, "route", "add", "default", "via", SwitchAddress);
        return place;
    }

    /// <summary>Takes a place's cable out of the switch: neither end is told, packets are gone.</summary>
    public Task UnplugAsync(string name) => IpAsync("-n", Switch, "link", "set", name, "nomaster");

    public async Task PlugAsync(string name)
    {
        await IpAsync("-n", Switch, "link", "set", name, "master", _slow.ContainsKey(name) ? SlowBridge(name) : Bridge);
        await IpAsync("-n", Switch, "link", "set", name, "up");
    }

    /// <summary>Holds every packet to and from a place back for so long; zero: none any more.</summary>
    public async Task DelayAsync(string name, TimeSpan delay)
    {
        if (_slow.Remove(name, out var before))
        {
            await PlugAsync(name);
            before.Dispose();
            await IpAsync("-n", Switch, "link", "del", SlowBridge(name));
        }
        if (delay <= TimeSpan.Zero)
            return;
        var cable = await SlowCable.CreateAsync(Switch, name + "n", name + "f", delay);
        await IpAsync("-n", Switch, "link", "add", SlowBridge(name), "type", "bridge");
        await IpAsync("-n", Switch, "link", "set", SlowBridge(name), "up");
        await IpAsync("-n", Switch, "link", "set", name + "n", "master", SlowBridge(name), "up");
        await IpAsync("-n", Switch, "link", "set", name + "f", "master", Bridge, "up");
        _slow[name] = cable;
        await PlugAsync(name);
    }

    /// <summary>Sends a signal to all that run in a place, its virtual machines too.</summary>
    public static async Task SignalAllAsync(string place, string signal)
    {
        var pids = (await IpAsync("netns", "pids", place)).Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        if (pids.Length > 0)
            await CommandRunner.RunAsync("kill", ["-s", signal, .. pids]);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var cable in _slow.Values)
            cable.Dispose();
        foreach (var place in _places)
            await CommandRunner.RunAsync("ip", ["netns", "del", place]);
    }

    private static string SlowBridge(string name) => name + "b";

    private async Task AddNamespaceAsync(string name)
    {
        await IpAsync("netns", "add", name);
        _places.Add(name);
        await IpAsync("-n", name, "link", "set", "lo", "up");
    }

    private static Task<string> IpAsync(params string[] arguments) => CommandRunner.RunCheckedAsync("ip", arguments);
}
