using System.Net.Http.Json;
using Ravel.Contracts.Api;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.Recovery;

/// <summary>
/// Kills the server before and after each of its durable writes, in turn, starts another on the same database, says again what was asked, as
/// a client does that got no answer, and compares what the server lists with what the nodes have: every machine once, and nothing else.
/// </summary>
public sealed class ServerKillPointTests
{
    private const int MostPoints = 200;

    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(30);

    [Fact]
    public Task A_create_makes_one_machine_wherever_the_server_is_killed() => AtEveryPointAsync(
        _ => Task.FromResult<Machine?>(null),
        async (cluster, _) =>
        {
            var machine = await CreateAsync(cluster, "key-1");
            await cluster.Client.WaitAsync(machine, MachineStates.Started);
        },
        machines: 1);

    [Fact]
    public Task An_update_leaves_one_machine_of_the_new_configuration_wherever_the_server_is_killed() => AtEveryPointAsync(
        StartedAsync,
        async (cluster, machine) =>
        {
            await cluster.Client.PostJsonAsync(
                ApiCalls.PathOf(machine!), new CreateMachineRequest { Config = new MachineConfig { Image = "other" } }, ApiJson.Default.CreateMachineRequest).OkAsync();
            await cluster.Client.WaitAsync(machine!, MachineStates.Started);
            Assert.Equal("other", (await cluster.Client.GetMachineAsync(machine!)).Config.Image);
        },
        machines: 1);

    [Fact]
    public Task A_destruction_leaves_nothing_wherever_the_server_is_killed() => AtEveryPointAsync(
        StartedAsync,
        async (cluster, machine) =>
        {
            await cluster.Client.DeleteAsync($"{ApiCalls.PathOf(machine!)}?force=true").OkAsync();
            await cluster.Client.WaitAsync(machine!, MachineStates.Destroyed);
        },
        machines: 0);

    [Fact]
    public Task A_machine_of_a_lost_node_runs_once_wherever_the_server_is_killed() => AtEveryPointAsync(
        StartedAsync,
        async (cluster, machine) =>
        {
            var first = cluster.Nodes.Single(n => n.Puts.Any(p => p.Generation == 1));
            if ((await cluster.Client.GetMachineAsync(machine!)).Generation == 1)
                await first.StopAsync();
            await FakeCluster.UntilAsync(() => cluster.Servers.Count == 0 || cluster.Nodes.Any(n => n != first && n.Running.Count == 1), "it runs elsewhere, or the server is dead");
            await cluster.Client.WaitAsync(machine!, MachineStates.Started);
            if (!first.IsUp)
                await first.StartAsync();
            await cluster.UntilStateAsync(first, NodeStates.Ready);
            Assert.Equal(2, (await cluster.Client.GetMachineAsync(machine!)).Generation);
        },
        machines: 1,
        lostAfter: TimeSpan.FromMilliseconds(400));

    private static async Task<Machine?> StartedAsync(FakeCluster cluster)
    {
        var machine = await CreateAsync(cluster, "key-0");
        await cluster.Client.WaitAsync(machine, MachineStates.Started);
        return machine;
    }

    private static async Task<Machine> CreateAsync(FakeCluster cluster, string key)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/apps/web/machines")
        {
            Content = JsonContent.Create(new CreateMachineRequest { Config = new MachineConfig { Image = "nginx" } }, ApiJson.Default.CreateMachineRequest),
        };
        request.Headers.Add("Idempotency-Key", key);
        return await cluster.Client.SendAsync(request).ReadAsync(ApiJson.Default.Machine);
    }

    private static async Task AtEveryPointAsync(
        Func<FakeCluster, Task<Machine?>> prepare, Func<FakeCluster, Machine?, Task> story, int machines, TimeSpan? lostAfter = null)
    {
        for (var killAt = 1; killAt < MostPoints; killAt++)
        {
            var crash = new ServerCrash();
            await using var cluster = await FakeCluster.StartAsync(nodes: 2, configure: c =>
            {
                c.Faults = crash.Faults;
                c.Recovery = c.Recovery with { NodeLostAfter = lostAfter ?? TimeSpan.FromSeconds(60) };
            });
            var machine = await prepare(cluster);
            crash.Arm(killAt);
            var telling = TellAsync(cluster, machine);
            await Task.WhenAny(telling, crash.Killed);
            crash.Disarm();
            if (!crash.IsDead)
            {
                await telling;
                TestContext.Current.TestOutputHelper?.WriteLine($"{killAt - 1} kill points");
                return;
            }
            cluster.Faults = null;
            await cluster.KillServerAsync(cluster.Servers[0]);
            await telling.ContinueWith(t => t.Exception, TaskScheduler.Default).WaitAsync(Bound);
            await cluster.StartServerAsync();
            await TellAsync(cluster, machine);
        }
        Assert.Fail($"The story did not end within {MostPoints} points.");

        async Task TellAsync(FakeCluster cluster, Machine? machine)
        {
            await story(cluster, machine);
            await AssertSettlesAsync(cluster, machines);
        }
    }

    /// <summary>What the server lists is what the nodes have, each machine once.</summary>
    private static async Task AssertSettlesAsync(FakeCluster cluster, int machines)
    {
        IReadOnlyList<string> listed = [];
        await FakeCluster.UntilAsync(
            async () =>
            {
                listed = [.. (await cluster.Client.GetAsync("/v1/machines").ReadAsync(ApiJson.Default.IReadOnlyListMachine)).Select(m => m.Id.Value).Order(StringComparer.Ordinal)];
                return listed.Count == machines && cluster.Known.SequenceEqual(listed);
            },
            "the nodes have every machine that is listed once, and nothing else",
            Bound);
    }
}
