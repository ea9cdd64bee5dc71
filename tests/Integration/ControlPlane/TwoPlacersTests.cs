using Microsoft.Extensions.DependencyInjection;
using Ravel.Agent.Capacity;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Nodes;
using Ravel.Testing.ControlPlane;
using Ravel.Testing.Scale;

namespace Ravel.Integration.ControlPlane;

/// <summary>Two servers on one PostgreSQL plan at once on the same nodes, and know nothing of what the other one is about to do.</summary>
public sealed class TwoPlacersTests : IAsyncLifetime
{
    private const int Nodes = 12;
    private const int Slots = 5;

    private readonly SimulatedNodes _nodes = new();
    private readonly List<HttpClient> _clients = [];
    private ControlPlaneHost _first = null!;
    private ControlPlaneHost _second = null!;

    public async ValueTask InitializeAsync()
    {
        await _nodes.StartAsync();
        var database = await NewDatabase.OnPostgresAsync();
        _first = await ControlPlaneHost.StartAsync(o => o with { NodeSocketPath = null }, withNode: false, database);
        _second = await ControlPlaneHost.StartAsync(o => o with { NodeSocketPath = null }, withNode: false, database);
        _clients.Add(_first.ClientWith(_first.Secrets.AdministratorSecret));
        _clients.Add(_second.ClientWith(_first.Secrets.AdministratorSecret));
        await _clients[0].CreateAppAsync("web");
        for (var i = 0; i < Nodes; i++)
        {
            var endPoint = _nodes.Add(new SimulatedNode($"n{i}", new NodeShare(Slots, 100_000, 1 << 20, 100)) { Zone = $"z{i % 3}" });
            _first.Services.GetRequiredService<NodeDirectory>().Add(endPoint);
            _second.Services.GetRequiredService<NodeDirectory>().Add(endPoint);
        }
        foreach (var server in new[] { _first, _second })
        {
            var directory = server.Services.GetRequiredService<NodeDirectory>();
            using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            while (directory.Reached.Count < Nodes)
                await Task.Delay(5, deadline.Token);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _clients.ForEach(client => client.Dispose());
        await _first.DisposeAsync();
        await _second.DisposeAsync();
        await _nodes.DisposeAsync();
    }

    [Fact]
    public async Task Exactly_the_room_there_is_is_filled_and_no_node_beyond_it()
    {
        // Every third question to a node is refused for no reason a server could know.
        foreach (var node in _nodes.All)
        {
            var asked = 0;
            node.OnReserve = _ =>
            {
                if (Interlocked.Increment(ref asked) % 3 == 0)
                    throw FakeNode.Refusal(ProblemCodes.InsufficientCapacity, "Not now.");
            };
        }
        var outcomes = await Task.WhenAll(Enumerable.Range(0, Nodes * Slots * 3 / 2).Select(CreateUntilKnownAsync));
        var made = outcomes.OfType<Machine>().ToList();
        Assert.All(_nodes.All, node => Assert.InRange(node.Allocated.Cpus, 0, Slots));
        Assert.Equal(Nodes * Slots, made.Count);
        foreach (var machine in made)
            await _clients[0].WaitAsync(machine, MachineStates.Started);
        Assert.All(_nodes.All, node => Assert.Equal((Slots, Slots), (node.Running, node.Allocated.Cpus)));
        Assert.Equal(made.Count, (await _clients[1].GetAsync("/v1/machines").ReadAsync(ApiJson.Default.IReadOnlyListMachine)).Count);
    }

    [Fact]
    public async Task Nobody_is_refused_while_there_is_room()
    {
        var outcomes = await Task.WhenAll(Enumerable.Range(0, Nodes * Slots * 2).Select(async i =>
        {
            using var response = await _clients[i % 2].TryCreateMachineAsync("web");
            return response.IsSuccessStatusCode;
        }));
        Assert.Equal(Nodes * Slots, outcomes.Count(succeeded => succeeded));
        Assert.All(_nodes.All, node => Assert.Equal(Slots, node.Allocated.Cpus));
    }

    [Fact]
    public async Task Requests_for_many_machines_share_the_room_out_without_a_rest_that_is_lost()
    {
        var request = new CreateMachinesRequest { Count = 7, Config = new MachineConfig { Image = "nginx" } };
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 16).Select(async i =>
        {
            using var response = await _clients[i % 2].PostJsonAsync("/v1/apps/web/machines/bulk", request, ApiJson.Default.CreateMachinesRequest);
            return response.IsSuccessStatusCode;
        }));
        var made = outcomes.Count(succeeded => succeeded);
        Assert.InRange(made, 0, Nodes * Slots / 7);
        // Nothing is held for those that were refused: who asks now gets what is left.
        for (; made < Nodes * Slots / 7; made++)
            await _clients[0].PostJsonAsync("/v1/apps/web/machines/bulk", request, ApiJson.Default.CreateMachinesRequest).OkAsync();
        var machines = await _clients[1].GetAsync("/v1/machines").ReadAsync(ApiJson.Default.IReadOnlyListMachine);
        Assert.Equal(made * 7, machines.Count);
        foreach (var machine in machines)
            await _clients[1].WaitAsync(machine, MachineStates.Started);
        Assert.All(_nodes.All, node => Assert.InRange(node.Running, 0, Slots));
        Assert.Equal(made * 7, _nodes.All.Sum(node => node.Running));
    }

    /// <summary>A refusal without a reason is no refusal of the whole: the caller tries again until the nodes say that they are full.</summary>
    private async Task<Machine?> CreateUntilKnownAsync(int i)
    {
        while (true)
        {
            try
            {
                return await _clients[i % 2].CreateMachineAsync("web");
            }
            catch (InvalidOperationException e) when (e.Message.Contains(ProblemCodes.InsufficientCapacity, StringComparison.Ordinal))
            {
                if (_nodes.All.Sum(node => node.Allocated.Cpus) >= Nodes * Slots)
                    return null;
            }
        }
    }
}
