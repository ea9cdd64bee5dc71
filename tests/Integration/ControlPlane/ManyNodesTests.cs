using Microsoft.Extensions.DependencyInjection;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

/// <summary>One server, three nodes.</summary>
public class ManyNodesTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-nodes-").FullName;
    private readonly List<FakeNode> _others = [];
    private ControlPlaneHost _host = null!;

    /// <summary>Null: a SQLite file.</summary>
    protected virtual Task<DatabaseAddress?> DatabaseAsync() => Task.FromResult<DatabaseAddress?>(null);

    public async ValueTask InitializeAsync()
    {
        _host = await ControlPlaneHost.StartAsync(database: await DatabaseAsync());
        foreach (var id in new[] { "node-2", "node-3" })
        {
            var node = new FakeNode(Path.Combine(_directory, $"{id}.sock")) { NodeId = id };
            _others.Add(node);
            await node.StartAsync();
            Nodes.Add(NodeEndPoint.Local(node.SocketPath) with { Key = id, Address = new Uri($"http://{id}") });
        }
        await UntilAsync(async () => (await NodesAsync()).Count(n => n.State == NodeStates.Ready) == 3);
        await _host.Client.CreateAppAsync("web");
    }

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await _host.DisposeAsync();
        foreach (var node in _others)
            await node.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private NodeDirectory Nodes => _host.Services.GetRequiredService<NodeDirectory>();

    [Fact]
    public async Task Each_node_runs_its_machines_and_is_asked_about_them()
    {
        var nodes = new[] { _host.Node, _others[0], _others[1] };
        foreach (var full in nodes)
            full.Slots = 0;
        foreach (var node in nodes)
        {
            node.Slots = 1;
            var machine = await _host.Client.CreateMachineAsync("web");
            await _host.Client.WaitAsync(machine, MachineStates.Started);
            Assert.NotNull(node.StatusOf(machine.Id.Value));
            await _host.Client.DoAsync(machine, "stop").OkAsync();
            await _host.Client.WaitAsync(machine, MachineStates.Stopped);
            node.Slots = 0;
        }
        Assert.All(await NodesAsync(), node => Assert.Equal(1, node.MachineCount));
    }

    [Fact]
    public async Task A_machine_that_fits_nowhere_is_refused_with_the_reasons_of_every_node()
    {
        foreach (var node in _others.Append(_host.Node))
            node.Slots = 0;
        var problem = await _host.Client.TryCreateMachineAsync("web").ProblemAsync();
        Assert.Equal(ProblemCodes.InsufficientCapacity, problem.Code);
        Assert.Equal("0 of 3 nodes fit: 3 have no slot for a machine left.", problem.Detail);
        Assert.Empty(await _host.Client.GetAsync("/v1/machines").ReadAsync(ApiJson.Default.IReadOnlyListMachine));
    }

    [Fact]
    public async Task A_cordoned_node_gets_nothing_new_and_keeps_what_it_has()
    {
        _host.Node.Slots = _others[0].Slots = 0;
        var machine = await _host.Client.CreateMachineAsync("web");
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        var cordoned = await _host.Client.PostAsync("/v1/nodes/node-3/cordon", null).ReadAsync(ApiJson.Default.Node);
        Assert.Equal((NodeStates.Cordoned, true, 1), (cordoned.State, cordoned.IsCordoned, cordoned.MachineCount));
        await _host.Client.TryCreateMachineAsync("web").ProblemAsync();
        Assert.Single(_others[1].Reservations);
        await _host.Client.DoAsync(machine, "stop").OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
        await _host.Client.DoAsync(machine, "start").OkAsync();
        await _host.Client.PostAsync("/v1/nodes/node-3/uncordon", null).OkAsync();
        await _host.Client.CreateMachineAsync("web");
    }

    [Fact]
    public async Task When_all_are_cordoned_the_refusal_says_so()
    {
        foreach (var node in await NodesAsync())
            await _host.Client.PostAsync($"/v1/nodes/{node.Id}/cordon", null).OkAsync();
        var problem = await _host.Client.TryCreateMachineAsync("web").ProblemAsync();
        Assert.Equal(ProblemCodes.InsufficientCapacity, problem.Code);
        Assert.Contains("cordoned", problem.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_machine_goes_to_the_node_of_its_volume()
    {
        foreach (var node in new[] { _host.Node, _others[0] })
            node.Slots = 0;
        foreach (var id in new[] { "node-1", "node-2" })
            await _host.Client.PostAsync($"/v1/nodes/{id}/cordon", null).OkAsync();
        var volume = await _host.Client.PostJsonAsync(
            "/v1/apps/web/volumes", new CreateVolumeRequest { Name = "data", SizeMb = 64 }, ApiJson.Default.CreateVolumeRequest).ReadAsync(ApiJson.Default.Volume);
        Assert.Contains(volume.Id.Value, _others[1].Volumes.Keys);
        foreach (var id in new[] { "node-1", "node-2" })
            await _host.Client.PostAsync($"/v1/nodes/{id}/uncordon", null).OkAsync();
        _host.Node.Slots = _others[0].Slots = 100;
        var machine = await _host.Client.CreateMachineAsync("web", new CreateMachineRequest
        {
            Config = new MachineConfig { Image = "nginx", Mounts = [new MountConfig { Volume = "data", Path = "/data" }] },
        });
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        Assert.NotNull(_others[1].StatusOf(machine.Id.Value));
    }

    [Fact]
    public async Task A_node_that_went_away_is_unreachable_and_its_machines_are_told_when_it_is_back()
    {
        _host.Node.Slots = _others[1].Slots = 0;
        var machine = await _host.Client.CreateMachineAsync("web");
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        await _others[0].StopAsync();
        await UntilAsync(async () => (await NodesAsync()).Single(n => n.Id == "node-2").State == NodeStates.Unreachable);
        Assert.Equal(2, (await NodesAsync()).Count(n => n.State == NodeStates.Ready));
        await _host.Client.DoAsync(machine, "stop").OkAsync();
        await _others[0].StartAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
    }

    [Fact]
    public async Task Images_are_those_of_the_node_that_is_named()
    {
        Assert.Equal(ProblemCodes.NodeRequired, (await _host.Client.GetAsync("/v1/images").ProblemAsync()).Code);
        await _host.Client.GetAsync("/v1/images?node=node-2").OkAsync();
        Assert.Equal(ProblemCodes.NodeUnavailable, (await _host.Client.GetAsync("/v1/images?node=node-9").ProblemAsync()).Code);
    }

    [Fact]
    public async Task Only_a_node_that_is_gone_and_empty_is_forgotten()
    {
        _host.Node.Slots = _others[1].Slots = 0;
        var machine = await _host.Client.CreateMachineAsync("web");
        Assert.Contains("1 machines", (await _host.Client.DeleteAsync("/v1/nodes/node-2").ProblemAsync()).Detail, StringComparison.Ordinal);
        Assert.Contains("still there", (await _host.Client.DeleteAsync("/v1/nodes/node-3").ProblemAsync()).Detail, StringComparison.Ordinal);
        await _host.Client.DeleteAsync($"{ApiCalls.PathOf(machine)}?force=true").OkAsync();
        await UntilAsync(async () => (await NodesAsync()).Single(n => n.Id == "node-2").MachineCount == 0);
        Nodes.Remove("node-2");
        await UntilAsync(async () => (await NodesAsync()).Single(n => n.Id == "node-2").State == NodeStates.Unreachable);
        await _host.Client.DeleteAsync("/v1/nodes/node-2").OkAsync();
        Assert.Equal(["node-1", "node-3"], (await NodesAsync()).Select(n => n.Id));
        Assert.Equal(ProblemCodes.NotFound, (await _host.Client.GetAsync("/v1/nodes/node-2").ProblemAsync()).Code);
    }

    [Fact]
    public async Task Nodes_are_the_administrators()
    {
        using var tenant = _host.ClientWith(_host.Secrets.NamespaceSecret);
        foreach (var path in new[] { "/v1/nodes", "/v1/nodes/node-2" })
            Assert.Equal(ProblemCodes.Forbidden, (await tenant.GetAsync(path).ProblemAsync()).Code);
        Assert.Equal(ProblemCodes.Forbidden, (await tenant.PostAsync("/v1/nodes/node-2/cordon", null).ProblemAsync()).Code);
        Assert.Equal(ProblemCodes.Forbidden, (await tenant.DeleteAsync("/v1/nodes/node-2").ProblemAsync()).Code);
    }

    private Task<IReadOnlyList<Node>> NodesAsync() => _host.Client.GetAsync("/v1/nodes").ReadAsync(ApiJson.Default.IReadOnlyListNode);

    private static async Task UntilAsync(Func<Task<bool>> holds)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (!await holds())
            await Task.Delay(20, deadline.Token);
    }
}
