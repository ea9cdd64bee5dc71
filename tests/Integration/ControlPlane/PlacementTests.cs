using Microsoft.Extensions.DependencyInjection;
using Ravel.Agent.Capacity;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.ControlPlane;
using Ravel.Testing.Scale;

namespace Ravel.Integration.ControlPlane;

/// <summary>Where machines go, as a caller sees it: one server, nodes of three zones in two regions.</summary>
public class PlacementTests : IAsyncLifetime
{
    private readonly SimulatedNodes _nodes = new();
    private ControlPlaneHost _host = null!;

    /// <summary>Null: a SQLite file.</summary>
    protected virtual Task<DatabaseAddress?> DatabaseAsync() => Task.FromResult<DatabaseAddress?>(null);

    public async ValueTask InitializeAsync()
    {
        await _nodes.StartAsync();
        _host = await ControlPlaneHost.StartAsync(o => o with { NodeSocketPath = null }, withNode: false, await DatabaseAsync());
        await _host.Client.CreateAppAsync("web");
    }

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await _host.DisposeAsync();
        await _nodes.DisposeAsync();
    }

    [Fact]
    public async Task An_app_is_spread_over_zones_and_then_over_nodes()
    {
        foreach (var (zone, i) in new[] { "a", "b", "c" }.SelectMany(zone => Enumerable.Range(0, 2).Select(i => (zone, i))))
            await AddAsync(new SimulatedNode($"{zone}{i}", Room(4)) { Region = "eu", Zone = zone });
        var machines = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => _host.Client.CreateMachineAsync("web")));
        Assert.All(machines, machine => Assert.Equal("eu", machine.Region));
        foreach (var machine in machines)
            await _host.Client.WaitAsync(machine, MachineStates.Started);
        Assert.All(_nodes.All, node => Assert.Equal(1, node.Running));
    }

    [Fact]
    public async Task Packed_machines_share_one_node()
    {
        for (var i = 0; i < 4; i++)
            await AddAsync(new SimulatedNode($"n{i}", Room(4)));
        for (var i = 0; i < 4; i++)
        {
            var machine = await _host.Client.CreateMachineAsync("web", Asking(new PlacementConfig { Strategy = "pack" }));
            await _host.Client.WaitAsync(machine, MachineStates.Started);
        }
        Assert.Equal([0, 0, 0, 4], _nodes.All.Select(node => node.Running).Order());
    }

    [Fact]
    public async Task A_machine_goes_where_its_region_labels_and_hypervisor_are()
    {
        await AddAsync(new SimulatedNode("far", Room(4)) { Region = "us", Labels = { ["disk"] = "ssd" } });
        await AddAsync(new SimulatedNode("slow", Room(4)) { Region = "eu", Labels = { ["disk"] = "hdd" } });
        await AddAsync(new SimulatedNode("other", Room(4)) { Region = "eu", Labels = { ["disk"] = "ssd" }, Vmm = "qemu" });
        await AddAsync(new SimulatedNode("right", Room(4)) { Region = "eu", Labels = { ["disk"] = "ssd" }, Vmm = "firecracker" });
        var asked = Asking(new PlacementConfig { Constraints = ["disk=ssd"], Features = ["firecracker"] }) with { Region = "eu" };
        for (var i = 0; i < 3; i++)
        {
            var machine = await _host.Client.CreateMachineAsync("web", asked);
            Assert.Equal("eu", machine.Region);
            await _host.Client.WaitAsync(machine, MachineStates.Started);
        }
        Assert.Equal(3, _nodes["right"].Running);
        Assert.Single(await _host.Client.GetAsync("/v1/apps/web/machines?region=eu&limit=1").ReadAsync(ApiJson.Default.IReadOnlyListMachine));
        Assert.Empty(await _host.Client.GetAsync("/v1/apps/web/machines?region=us").ReadAsync(ApiJson.Default.IReadOnlyListMachine));
    }

    [Fact]
    public async Task The_image_that_is_there_decides_among_equals()
    {
        for (var i = 0; i < 5; i++)
            await AddAsync(new SimulatedNode($"n{i}", Room(4)) { Images = i == 3 ? ["docker.io/library/nginx:latest"] : [] });
        var machine = await _host.Client.CreateMachineAsync("web");
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        Assert.Equal(1, _nodes["n3"].Running);
    }

    [Fact]
    public async Task A_refusal_counts_the_nodes_for_each_reason()
    {
        await AddAsync(new SimulatedNode("far", Room(4)) { Region = "us" });
        await AddAsync(new SimulatedNode("hdd1", Room(4)) { Region = "eu" });
        await AddAsync(new SimulatedNode("hdd2", Room(4)) { Region = "eu" });
        await AddAsync(new SimulatedNode("small", new NodeShare(8, 128, 1 << 20, 10)) { Region = "eu", Labels = { ["disk"] = "ssd" } });
        await AddAsync(new SimulatedNode("cordoned", Room(4)) { Region = "eu", Labels = { ["disk"] = "ssd" } });
        await _host.Client.PostAsync("/v1/nodes/cordoned/cordon", null).OkAsync();
        var problem = await _host.Client
            .TryCreateMachineAsync("web", Asking(new PlacementConfig { Constraints = ["disk=ssd"] }) with { Region = "eu" }).ProblemAsync();
        Assert.Equal(ProblemCodes.InsufficientCapacity, problem.Code);
        Assert.Equal(
            "0 of 5 nodes fit: 2 have not the labels wanted, 1 in another region than eu, 1 cordoned, 1 lacks memory (largest free 128 MiB, wanted 256).",
            problem.Detail);
    }

    [Theory]
    [InlineData("""{"image":"nginx","placement":{"constraints":["=ssd"]}}""", "config.placement.constraints[0] is wrong: '=ssd' is none of key, key=value, key!=value, key in (a, b).")]
    [InlineData("""{"image":"nginx","placement":{"strategy":"best"}}""", "config.placement.strategy must be spread or pack.")]
    [InlineData("""{"image":"nginx","placement":{"regions":["us"]}}""", "region and config.placement.regions can't both be given.")]
    [InlineData("""{"image":"nginx","placement":{"features":[""]}}""", "config.placement.features[0] must be 1 to 63 letters, digits, '.', '_' and '-'.")]
    public async Task A_wish_that_makes_no_sense_is_refused_with_its_field(string config, string detail)
    {
        using var body = new StringContent($$"""{"region":"eu","config":{{config}}}""", null, "application/json");
        Assert.Equal((ProblemCodes.InvalidRequest, detail), Said(await _host.Client.PostAsync("/v1/apps/web/machines", body).ProblemAsync()));
    }

    [Fact]
    public async Task Who_waits_for_capacity_gets_it_when_it_is_there()
    {
        await AddAsync(new SimulatedNode("only", Room(1)));
        var first = await _host.Client.CreateMachineAsync("web");
        Assert.Equal(ProblemCodes.InsufficientCapacity, (await _host.Client.TryCreateMachineAsync("web").ProblemAsync()).Code);
        var asked = _nodes.Asked;
        var waiting = _host.Client.PostJsonAsync(
            "/v1/apps/web/machines?wait_for_capacity=60", Asking(null), ApiJson.Default.CreateMachineRequest).ReadAsync(ApiJson.Default.Machine);
        await _host.Client.DeleteAsync($"{ApiCalls.PathOf(first)}?force=true").OkAsync();
        await _host.Client.WaitAsync(await waiting, MachineStates.Started);
        Assert.InRange(_nodes.Asked, asked + 1, long.MaxValue);
    }

    [Fact]
    public async Task Who_waits_too_long_gets_the_refusal()
    {
        await AddAsync(new SimulatedNode("only", Room(0)));
        var problem = await _host.Client.PostJsonAsync(
            "/v1/apps/web/machines?wait_for_capacity=1", Asking(null), ApiJson.Default.CreateMachineRequest).ProblemAsync();
        Assert.Equal((ProblemCodes.InsufficientCapacity, "0 of 1 node fits: 1 has no slot for a machine left."), Said(problem));
    }

    [Fact]
    public async Task Many_machines_of_one_request_are_all_made_or_none()
    {
        for (var i = 0; i < 3; i++)
            await AddAsync(new SimulatedNode($"n{i}", Room(10)));
        var made = await BulkAsync(new CreateMachinesRequest { Count = 28, Name = "job", Config = Nginx }).ReadAsync(ApiJson.Default.IReadOnlyListMachine);
        Assert.Equal(Enumerable.Range(1, 28).Select(i => $"job-{i}").Order(), made.Select(machine => machine.Name).Order());
        var refused = await BulkAsync(new CreateMachinesRequest { Count = 3, Config = Nginx }).ProblemAsync();
        Assert.Equal(ProblemCodes.InsufficientCapacity, refused.Code);
        Assert.StartsWith("Room was found for 2 of 3 machines, and none is created.", refused.Detail, StringComparison.Ordinal);
        // What was held for the two that found room is theirs no more.
        var rest = await BulkAsync(new CreateMachinesRequest { Count = 2, Config = Nginx }).ReadAsync(ApiJson.Default.IReadOnlyListMachine);
        foreach (var machine in made.Concat(rest))
            await _host.Client.WaitAsync(machine, MachineStates.Started);
        Assert.All(_nodes.All, node => Assert.Equal(10, node.Running));
        Assert.Equal(30, (await _host.Client.GetAsync("/v1/machines").ReadAsync(ApiJson.Default.IReadOnlyListMachine)).Count);
    }

    [Fact]
    public async Task A_request_for_many_that_is_sent_again_makes_them_once()
    {
        await AddAsync(new SimulatedNode("n0", Room(100)));
        _host.Client.DefaultRequestHeaders.Add("Idempotency-Key", "k1");
        var request = new CreateMachinesRequest { Count = 5, Config = Nginx };
        var answers = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => BulkAsync(request).ReadAsync(ApiJson.Default.IReadOnlyListMachine)));
        var ids = answers[0].Select(machine => machine.Id).Order().ToList();
        Assert.Equal(5, ids.Count);
        Assert.All(answers, answer => Assert.Equal(ids, answer.Select(machine => machine.Id).Order()));
        foreach (var machine in answers[0])
            await _host.Client.WaitAsync(machine, MachineStates.Started);
        Assert.Equal(5, _nodes["n0"].Running);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1001)]
    public async Task So_many_are_not_made_by_one_request(int count) =>
        Assert.Equal(
            (ProblemCodes.InvalidRequest, "count must be 1 to 1000."),
            Said(await BulkAsync(new CreateMachinesRequest { Count = count, Config = Nginx }).ProblemAsync()));

    private static MachineConfig Nginx { get; } = new() { Image = "nginx" };

    private static CreateMachineRequest Asking(PlacementConfig? placement) => new() { Config = Nginx with { Placement = placement } };

    private static NodeShare Room(int machines) => new(100, 100_000, 1 << 20, machines);

    private static (string Code, string Detail) Said(Problem problem) => (problem.Code, problem.Detail);

    private Task<HttpResponseMessage> BulkAsync(CreateMachinesRequest request) =>
        _host.Client.PostJsonAsync("/v1/apps/web/machines/bulk", request, ApiJson.Default.CreateMachinesRequest);

    private async Task AddAsync(SimulatedNode node)
    {
        var nodes = _host.Services.GetRequiredService<NodeDirectory>();
        nodes.Add(_nodes.Add(node));
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (nodes.Find(node.Id) is null)
            await Task.Delay(5, deadline.Token);
    }
}
