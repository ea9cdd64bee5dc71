using Ravel.Contracts.Api;
using Ravel.ControlPlane.Storage;
using Ravel.Integration.ControlPlane;
using Ravel.Testing.ControlPlane;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.Integration.Recovery;

/// <summary>What a cluster does when a node does not come back, and when it does.</summary>
public class NodeLossTests : IAsyncLifetime
{
    private FakeCluster _cluster = null!;

    /// <summary>Null: a SQLite file.</summary>
    protected virtual Task<DatabaseAddress?> DatabaseAsync() => Task.FromResult<DatabaseAddress?>(null);

    public async ValueTask InitializeAsync() => _cluster = await FakeCluster.StartAsync(nodes: 3, database: await DatabaseAsync());

    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return _cluster.DisposeAsync();
    }

    [Fact]
    public async Task Machines_of_a_lost_node_start_elsewhere_exactly_once()
    {
        var (lost, machines) = await LoseNodeWithAsync(10);
        var others = _cluster.Nodes.Where(n => n != lost).ToList();
        var ids = machines.Select(m => m.Id.Value).Order(StringComparer.Ordinal).ToList();
        await FakeCluster.UntilAsync(() => others.SelectMany(n => n.Running).Order(StringComparer.Ordinal).SequenceEqual(ids), "every machine runs elsewhere once");
        foreach (var machine in machines)
        {
            await _cluster.Client.WaitAsync(machine, MachineStates.Started);
            var seen = await _cluster.Client.GetMachineAsync(machine);
            Assert.NotEqual(lost.NodeId, seen.NodeId);
            Assert.Equal(machine.Generation + 1, seen.Generation);
            Assert.Single(seen.Events, e => e.Type == "reschedule");
            Assert.Single(others, n => n.Puts.Any(p => p.MachineId == machine.Id.Value && p.Desired == Rpc.DesiredState.Started));
        }
    }

    [Fact]
    public async Task A_node_that_returns_ends_its_stale_copies_before_anything_else()
    {
        var (lost, machines) = await LoseNodeWithAsync(5);
        await FakeCluster.UntilAsync(() => _cluster.Running.Count == 10, "every machine runs twice: here, and on the node that is cut off");
        await lost.StartAsync();
        await _cluster.UntilStateAsync(lost, NodeStates.Ready);
        Assert.Equal(machines.Select(m => m.Id.Value).Order(StringComparer.Ordinal), _cluster.Running);
        var (epoch, running) = lost.Admissions.Last();
        Assert.Equal(1UL, epoch);
        Assert.Empty(running);
        foreach (var machine in machines)
        {
            var fence = lost.Puts.Last(p => p.MachineId == machine.Id.Value);
            Assert.True(fence is { Desired: Rpc.DesiredState.Destroyed, Moved: true, Force: true, Generation: 2 });
            // What the node says of its copy's end is not the machine's.
            Assert.Equal(MachineStates.Started, (await _cluster.Client.GetMachineAsync(machine)).State);
        }
    }

    [Fact]
    public async Task A_machine_can_come_back_to_the_node_it_was_lost_with()
    {
        var (lost, machines) = await LoseNodeWithAsync(1);
        await _cluster.Client.WaitAsync(machines[0], MachineStates.Started);
        await FakeCluster.UntilAsync(() => _cluster.Nodes.Any(n => n != lost && n.Running.Count == 1), "it runs elsewhere");
        var second = _cluster.Nodes.Single(n => n != lost && n.Running.Count == 1);
        await lost.StartAsync();
        await _cluster.UntilStateAsync(lost, NodeStates.Ready);
        foreach (var node in _cluster.Nodes)
            node.Slots = node == lost ? 10 : 0;
        await second.StopAsync();
        await FakeCluster.UntilAsync(() => lost.Running.Count == 1, "it runs where it was first");
        await _cluster.Client.WaitAsync(machines[0], MachineStates.Started);
        Assert.Equal(3, (await _cluster.Client.GetMachineAsync(machines[0])).Generation);
        await second.StartAsync();
        await _cluster.UntilStateAsync(second, NodeStates.Ready);
        Assert.Equal([machines[0].Id.Value], _cluster.Running);
    }

    [Fact]
    public async Task Machines_that_stay_are_reported_and_go_on_when_their_node_is_back()
    {
        await _cluster.Client.PostJsonAsync("/v1/apps/web/volumes", new CreateVolumeRequest { Name = "data", SizeMb = 64 }, ApiJson.Default.CreateVolumeRequest).OkAsync();
        var node = _cluster.Nodes.Single(n => !n.Volumes.IsEmpty);
        Only(node);
        var kept = new List<Machine>
        {
            await CreateAsync(new MachineConfig { Image = "nginx", Mounts = [new MountConfig { Volume = "data", Path = "/data" }] }),
            await CreateAsync(new MachineConfig { Image = "nginx", OnNodeLoss = "stay" }),
        };
        Everywhere();
        await node.StopAsync();
        foreach (var machine in kept)
        {
            await FakeCluster.UntilAsync(
                async () => (await _cluster.Client.GetMachineAsync(machine)).Problem?.Code == ProblemCodes.NodeLost, "it is said that the machine waits for its node");
            Assert.Single((await _cluster.Client.GetMachineAsync(machine)).Events, e => e.Type == ProblemCodes.NodeLost);
        }
        await node.StartAsync();
        await _cluster.UntilStateAsync(node, NodeStates.Ready);
        foreach (var machine in kept)
        {
            var seen = await _cluster.Client.GetMachineAsync(machine);
            Assert.Equal((MachineStates.Started, null, machine.Generation, node.NodeId), (seen.State, seen.Problem, seen.Generation, seen.NodeId));
        }
        Assert.Equal(2, _cluster.Running.Count);
    }

    [Fact]
    public async Task What_had_ended_does_not_run_again_elsewhere()
    {
        var node = _cluster.Nodes[0];
        Only(node);
        var machine = await CreateAsync(new MachineConfig { Image = "job" });
        node.Exit(machine.Id.Value, 0);
        await _cluster.Client.WaitAsync(machine, MachineStates.Stopped);
        var running = await CreateAsync(new MachineConfig { Image = "nginx" });
        Everywhere();
        await node.StopAsync();
        await FakeCluster.UntilAsync(() => _cluster.Nodes.Any(n => n != node && n.Running.Contains(running.Id.Value)), "the one that ran runs elsewhere");
        Assert.Equal(MachineStates.Stopped, (await _cluster.Client.GetMachineAsync(machine)).State);
        Assert.DoesNotContain(_cluster.Nodes.Where(n => n != node), n => n.Known.Contains(machine.Id.Value));
    }

    [Fact]
    public async Task A_machine_is_destroyed_though_its_node_is_lost_and_its_copy_ends_when_the_node_is_back()
    {
        var node = _cluster.Nodes[0];
        Only(node);
        var machine = await CreateAsync(new MachineConfig { Image = "nginx", OnNodeLoss = "stay" });
        await node.StopAsync();
        await _cluster.Client.DeleteAsync($"{ApiCalls.PathOf(machine)}?force=true").OkAsync();
        await _cluster.Client.WaitAsync(machine, MachineStates.Destroyed);
        await node.StartAsync();
        await _cluster.UntilStateAsync(node, NodeStates.Ready);
        Assert.Empty(_cluster.Known);
    }

    [Fact]
    public async Task A_machine_for_which_there_is_no_room_starts_when_there_is()
    {
        var node = _cluster.Nodes[0];
        Only(node);
        var machine = await CreateAsync(new MachineConfig { Image = "nginx" });
        await node.StopAsync();
        await FakeCluster.UntilAsync(
            async () => (await _cluster.Client.GetMachineAsync(machine)).Problem?.Message.Contains("no other takes", StringComparison.Ordinal) == true, "it is said that there is no room");
        _cluster.Nodes[2].Slots = 1;
        await FakeCluster.UntilAsync(() => _cluster.Nodes[2].Running.Count == 1, "it runs where there is room now");
        await _cluster.Client.WaitAsync(machine, MachineStates.Started);
        Assert.Null((await _cluster.Client.GetMachineAsync(machine)).Problem);
    }

    [Fact]
    public async Task A_node_that_is_back_soon_keeps_everything()
    {
        _cluster.Nodes[0].Slots = 5;
        Only(_cluster.Nodes[0]);
        var machine = await CreateAsync(new MachineConfig { Image = "nginx" });
        await _cluster.Nodes[0].StopAsync();
        await _cluster.Nodes[0].StartAsync();
        await _cluster.UntilStateAsync(_cluster.Nodes[0], NodeStates.Ready);
        Assert.Equal(1, (await _cluster.Client.GetMachineAsync(machine)).Generation);
        Assert.All(_cluster.Nodes[0].Admissions, a => Assert.Equal(0UL, a.Epoch));
    }

    [Fact]
    public async Task Volumes_do_not_move_and_nobody_can_ask_for_it()
    {
        var problem = await _cluster.Client.TryCreateMachineAsync("web", new CreateMachineRequest
        {
            Config = new MachineConfig { Image = "nginx", OnNodeLoss = "reschedule", Mounts = [new MountConfig { Volume = "data", Path = "/data" }] },
        }).ProblemAsync();
        Assert.Equal(ProblemCodes.InvalidRequest, problem.Code);
    }

    private async Task<(FakeNode Lost, List<Machine> Machines)> LoseNodeWithAsync(int count)
    {
        var node = _cluster.Nodes[0];
        Only(node);
        var machines = new List<Machine>();
        for (var i = 0; i < count; i++)
            machines.Add(await CreateAsync(new MachineConfig { Image = "nginx" }));
        Everywhere();
        await node.StopAsync();
        await _cluster.UntilStateAsync(node, NodeStates.Lost);
        return (node, machines);
    }

    private async Task<Machine> CreateAsync(MachineConfig config)
    {
        var machine = await _cluster.Client.CreateMachineAsync("web", new CreateMachineRequest { Config = config });
        await _cluster.Client.WaitAsync(machine, MachineStates.Started);
        return machine;
    }

    private void Only(FakeNode node)
    {
        foreach (var other in _cluster.Nodes)
            other.Slots = other == node ? 1000 : 0;
    }

    private void Everywhere()
    {
        foreach (var node in _cluster.Nodes)
            node.Slots = 1000;
    }
}

public sealed class NodeLossOnPostgresTests : NodeLossTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}
