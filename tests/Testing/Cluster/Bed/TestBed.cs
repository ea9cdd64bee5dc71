using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.Testing.ControlPlane;
using Ravel.Testing.EndToEnd;
using Ravel.Testing.Images;
using Ravel.Testing.Needs;

namespace Ravel.Testing.Cluster.Bed;

/// <summary>
/// A cluster on one machine: a real PostgreSQL, servers and hosts, each the real raveld in a network namespace of its own with its own address and
/// data directory, on a switch without a way out, and a registry with a busybox image. What can be done to it:
/// <list type="bullet">
/// <item>cut, mend, delay, freeze, thaw, kill, stop, lose and return a host (<see cref="BedHost"/>);</item>
/// <item>kill, stop, cut, mend and start a server (<see cref="BedServer"/>);</item>
/// <item>anything a user does, with any server (<see cref="BedServer.RavelAsync(string[])"/>).</item>
/// </list>
/// Disposing brings every host back, destroys all machines and stops everything, so that nothing is left on the machine.
/// </summary>
public sealed class TestBed : IAsyncDisposable
{
    private readonly string _directory;
    private readonly BedNetwork _network;
    private readonly PostgresServer _postgres;
    private readonly RegistryFixture _registry;
    private readonly List<BedServer> _servers = [];
    private readonly List<BedHost> _hosts = [];

    private TestBed(string directory, BedNetwork network, PostgresServer postgres, RegistryFixture registry) =>
        (_directory, _network, _postgres, _registry) = (directory, network, postgres, registry);

    public IReadOnlyList<BedServer> Servers => _servers;

    public IReadOnlyList<BedHost> Hosts => _hosts;

    /// <summary>PostgreSQL, to be killed and started again.</summary>
    public PostgresServer Postgres => _postgres;

    /// <summary>Reference of an image that every host can pull.</summary>
    public string Busybox { get; private set; } = "";

    /// <summary>Up, with every node ready at every server.</summary>
    public static async Task<TestBed> CreateAsync(TestBedOptions options)
    {
        Need.Root();
        Need.File(Path.Combine(RavelHost.Binaries, "raveld"));
        var network = await BedNetwork.CreateAsync(options.IsReachable);
        PostgresServer? postgres = null;
        RegistryFixture? registry = null;
        try
        {
            postgres = await PostgresServer.StartAsync(isDurable: true, new(network.Switch, BedNetwork.SwitchAddress));
            registry = await RegistryFixture.StartAsync(networkNamespace: network.Switch, address: BedNetwork.SwitchAddress);
        }
        catch
        {
            if (postgres is not null)
                await postgres.DisposeAsync();
            await network.DisposeAsync();
            throw;
        }
        var directory = options.Directory is { } path ? Directory.CreateDirectory(path) : Directory.CreateTempSubdirectory("ravel-bed-");
        var bed = new TestBed(directory.FullName, network, postgres, registry);
        try
        {
            await bed.FillAsync(options);
            return bed;
        }
        catch
        {
            await bed.DisposeAsync();
            throw;
        }
    }

    /// <summary>Puts another image into the registry that all hosts use; returns its reference.</summary>
    public Task<string> PushAsync(OciLayout image, string name) => _registry.PushAsync(image, name);

    public async ValueTask DisposeAsync()
    {
        var failures = new List<string>();
        await TryAsync(EmptyAsync);
        foreach (var host in _hosts)
            await TryAsync(host.StopAgentAsync);
        foreach (var server in _servers)
            await TryAsync(server.StopAsync);
        // What would not go by itself.
        foreach (var host in _hosts)
            await TryAsync(host.LoseAsync);
        await _registry.DisposeAsync();
        await _postgres.DisposeAsync();
        await _network.DisposeAsync();
        if (Environment.GetEnvironmentVariable("RAVEL_KEEP") is null)
            Directory.Delete(_directory, recursive: true);
        if (failures.Count > 0)
            throw new InvalidOperationException(string.Join('\n', failures));

        async Task TryAsync(Func<Task> step)
        {
            try
            {
                await step();
            }
            catch (Exception e)
            {
                failures.Add(e.Message);
            }
        }
    }

    private async Task FillAsync(TestBedOptions options)
    {
        Busybox = await _registry.PushAsync(await TestImages.BusyboxAsync(), "library/busybox:1");
        var registries = Path.Combine(_directory, "registries.json");
        await File.WriteAllTextAsync(registries, "{\"registries\": {\"" + _registry.Host + "\": {\"http\": true}}}");
        var database = await _postgres.CreateUrlAsync();
        for (var i = 1; i <= options.Servers; i++)
        {
            var address = $"198.18.0.{10 + i}";
            var name = $"server{i}";
            var place = await _network.AddPlaceAsync(name, address);
            _servers.Add(new BedServer(_network, name, place, address, Path.Combine(_directory, name), database, options.ServerOptions));
        }
        await Task.WhenAll(_servers.Select(server => server.StartAsync()));
        for (var i = 1; i <= options.Hosts; i++)
        {
            var address = $"198.18.0.{100 + i}";
            var name = $"host{i}";
            var place = await _network.AddPlaceAsync(name, address);
            List<string> own =
            [
                "--vmm", options.Vmm, "--registries", registries, "--region", "bed", "--zone", $"zone{i}", "--cpu-overcommit", "32",
                "--label", $"host={name}", .. options.AgentOptions,
            ];
            _hosts.Add(new BedHost(_network, name, place, address, Path.Combine(_directory, name), own));
        }
        await Task.WhenAll(_hosts.Select((host, i) => host.JoinAsync(_servers[i % _servers.Count])));
        foreach (var server in _servers)
            await Until.TrueAsync(async () => (await server.NodesAsync()).Count(node => node.State == NodeStates.Ready) == _hosts.Count);
    }

    /// <summary>Everything is brought back as far as it must be for machines to be destroyed, and they are.</summary>
    private async Task EmptyAsync()
    {
        if (_servers.Count == 0 || _hosts.All(host => host.NodeId.Length == 0))
            return;
        foreach (var host in _hosts)
        {
            await host.DelayAsync(TimeSpan.Zero);
            await host.MendAsync();
            await host.ThawAsync();
            host.Return();
        }
        foreach (var server in _servers)
            await server.MendAsync();
        var asked = _servers[0];
        if (!asked.IsRunning)
            await asked.StartAsync();
        await Until.TrueAsync(async () => (await asked.NodesAsync()).All(node => node.State is NodeStates.Ready or NodeStates.Cordoned));
        await Until.TrueAsync(async () =>
        {
            var machines = JsonDocument.Parse(await asked.RavelOkAsync("ps", "--all", "--json")).RootElement;
            foreach (var machine in machines.EnumerateArray())
                await asked.RavelAsync("rm", "--force", machine.GetProperty("id").GetString()!);
            return machines.GetArrayLength() == 0;
        });
        // Destroyed for the server is a moment before gone from the host.
        await Until.TrueAsync(async () => (await asked.NodesAsync()).All(node => node.Allocated is { Machines: 0 }));
    }
}
