using System.Net;
using System.Net.Http.Headers;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.ControlPlane;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Recovery;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.Agent;

namespace Ravel.Testing.ControlPlane;

/// <summary>
/// Any number of servers on one database and any number of <see cref="FakeNode"/>s that all of them reach. Servers are killed and started,
/// nodes are cut off and come back; time limits are short.
/// </summary>
internal sealed class FakeCluster : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-cluster-").FullName;
    private readonly List<FakeServer> _servers = [];
    private readonly List<FakeNode> _nodes = [];
    private readonly DatabaseAddress _database;
    private string? _secret;

    public FakeCluster(DatabaseAddress? database = null) =>
        _database = database ?? DatabaseAddress.Sqlite(Path.Combine(_directory, "server.db"));

    /// <summary>Of every server that is started from now on.</summary>
    public RecoveryOptions Recovery { get; set; } = new()
    {
        NodeLostAfter = TimeSpan.FromMilliseconds(800),
        Interval = TimeSpan.FromMilliseconds(50),
        LeaseRenewal = TimeSpan.FromMilliseconds(50),
        OrphanGrace = TimeSpan.FromMilliseconds(200),
    };

    /// <summary>Of every server that is started from now on; null: the real clock.</summary>
    public TimeProvider? Time { get; set; }

    public DatabaseFaults? Faults { get; set; }

    public IReadOnlyList<FakeNode> Nodes => _nodes;

    public IReadOnlyList<FakeServer> Servers => _servers;

    /// <summary>Of the newest server that runs.</summary>
    public HttpClient Client => _servers[^1].Client;

    public static async Task<FakeCluster> StartAsync(int nodes, int servers = 1, DatabaseAddress? database = null, Action<FakeCluster>? configure = null)
    {
        var cluster = new FakeCluster(database);
        configure?.Invoke(cluster);
        for (var i = 1; i <= nodes; i++)
            await cluster.AddNodeAsync($"node-{i}");
        for (var i = 0; i < servers; i++)
            await cluster.StartServerAsync();
        await cluster.Client.CreateAppAsync("web");
        return cluster;
    }

    public async Task<FakeNode> AddNodeAsync(string id)
    {
        var node = new FakeNode(Path.Combine(_directory, $"{id}.sock")) { NodeId = id };
        _nodes.Add(node);
        await node.StartAsync();
        foreach (var server in _servers)
            Introduce(server, node);
        return node;
    }

    /// <summary>Another server; returns when it has reached every node that is there.</summary>
    public async Task<FakeServer> StartServerAsync(bool waits = true)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        if (Environment.GetEnvironmentVariable("RAVEL_TEST_LOG") == "1")
            builder.Logging.AddSimpleConsole();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        if (Time is not null)
            builder.Services.AddSingleton(Time);
        var silence = new Silence();
        builder.Services.AddSingleton(Faults ?? silence.Faults);
        builder.Services.AddControlPlane(new ControlPlaneOptions { Database = _database, Version = "0.0.0-test", Recovery = Recovery });
        var app = builder.Build();
        var secrets = await app.Services.EnsureBootstrapAsync(CancellationToken.None);
        _secret ??= secrets?.AdministratorSecret;
        app.MapControlPlane();
        await app.StartAsync();
        var server = new FakeServer(app, _secret!, silence);
        _servers.Add(server);
        foreach (var node in _nodes)
            Introduce(server, node);
        if (waits)
            await UntilAsync(() => _nodes.Where(n => n.IsUp).All(n => server.Directory.Find(n.NodeId) is not null), "the server reaches its nodes");
        return server;
    }

    /// <summary>Ends a server in the middle of whatever it does.</summary>
    public async Task KillServerAsync(FakeServer server)
    {
        _servers.Remove(server);
        await server.DisposeAsync();
    }

    public FakeNode NodeOf(Machine machine) => _nodes.Single(n => n.Known.Contains(machine.Id.Value));

    /// <summary>Machines that run, over all nodes: one id for each copy.</summary>
    public IReadOnlyList<string> Running => [.. _nodes.SelectMany(n => n.Running).Order(StringComparer.Ordinal)];

    /// <summary>Machines that are on nodes, running or not: one id for each copy.</summary>
    public IReadOnlyList<string> Known => [.. _nodes.SelectMany(n => n.Known).Order(StringComparer.Ordinal)];

    public async Task<Node> ShowAsync(FakeNode node) => await Client.GetAsync($"/v1/nodes/{node.NodeId}").ReadAsync(ApiJson.Default.Node);

    public async Task UntilStateAsync(FakeNode node, string state) =>
        await UntilAsync(async () => (await ShowAsync(node)).State == state, $"node {node.NodeId} is {state}");

    public static Task UntilAsync(Func<bool> holds, string what) => UntilAsync(() => Task.FromResult(holds()), what);

    /// <param name="holds">What is waited for.</param>
    /// <param name="what">In words, for the failure.</param>
    /// <param name="within">The bound that is promised; null: any that only a failure reaches.</param>
    public static async Task UntilAsync(Func<Task<bool>> holds, string what, TimeSpan? within = null)
    {
        var began = TimeProvider.System.GetTimestamp();
        while (!await holds())
        {
            if (TimeProvider.System.GetElapsedTime(began) > (within ?? Patience))
                throw new TimeoutException($"It did not come about that {what}.");
            await Task.Delay(10);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var server in _servers)
            await server.DisposeAsync();
        foreach (var node in _nodes)
            await node.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private static void Introduce(FakeServer server, FakeNode node) =>
        server.Directory.Add(NodeEndPoint.Local(node.SocketPath) with { Key = node.NodeId, Address = new Uri($"http://{node.NodeId}") });
}

/// <summary>One server of a <see cref="FakeCluster"/>.</summary>
internal sealed class FakeServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly Silence _silence;

    public FakeServer(WebApplication app, string secret, Silence silence)
    {
        (_app, _silence) = (app, silence);
        Client = new HttpClient { BaseAddress = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()) };
        Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", secret);
    }

    public HttpClient Client { get; }

    /// <summary>In order, as at SIGTERM.</summary>
    public Task StopAsync() => _app.StopAsync();

    public IServiceProvider Services => _app.Services;

    public NodeDirectory Directory => Services.GetRequiredService<NodeDirectory>();

    /// <summary>From now on the database hears nothing of it, as of a process that was killed.</summary>
    public void Silence() => _silence.IsOn = true;

    public bool IsOnDuty => Services.GetRequiredService<Caretaker>().IsOnDuty;

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
    }
}

/// <summary>Cuts one server off from its database.</summary>
internal sealed class Silence
{
    private volatile bool _isOn;

    public bool IsOn
    {
        get => _isOn;
        set => _isOn = value;
    }

    public DatabaseFaults Faults => new(Check, _ => Check(), _ => { });

    private void Check()
    {
        if (_isOn)
            throw new SimulatedCrashException();
    }
}
