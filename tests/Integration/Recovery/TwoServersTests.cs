using System.Net.Http.Json;
using Ravel.Contracts.Api;
using Ravel.Integration.ControlPlane;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.Recovery;

/// <summary>Two servers on one PostgreSQL.</summary>
public sealed class TwoServersTests
{
    [Fact]
    public async Task What_one_server_does_for_all_is_taken_over_within_ten_seconds_after_its_death()
    {
        // The limits as they are: the bound is that of the product.
        await using var cluster = await FakeCluster.StartAsync(nodes: 1, servers: 2, await NewDatabase.OnPostgresAsync(), c => c.Recovery = new());
        await FakeCluster.UntilAsync(() => cluster.Servers.Count(s => s.IsOnDuty) == 1, "one is on duty");
        var (holder, other) = cluster.Servers[0].IsOnDuty ? (cluster.Servers[0], cluster.Servers[1]) : (cluster.Servers[1], cluster.Servers[0]);
        // Dead to the database, as a killed process is; it cannot even give its lease back.
        holder.Silence();
        await FakeCluster.UntilAsync(() => Task.FromResult(other.IsOnDuty), "the other is on duty", TimeSpan.FromSeconds(10));
        Assert.False(holder.IsOnDuty);
    }

    [Fact]
    public async Task A_server_that_goes_down_in_order_makes_nobody_wait()
    {
        await using var cluster = await FakeCluster.StartAsync(nodes: 1, servers: 2, await NewDatabase.OnPostgresAsync(), c =>
            c.Recovery = c.Recovery with { LeaseLimit = TimeSpan.FromMinutes(5), LeaseTakeover = TimeSpan.FromMinutes(10) });
        await FakeCluster.UntilAsync(() => cluster.Servers.Count(s => s.IsOnDuty) == 1, "one is on duty");
        var holder = cluster.Servers.Single(s => s.IsOnDuty);
        await holder.StopAsync();
        await FakeCluster.UntilAsync(() => cluster.Servers.Single(s => s != holder).IsOnDuty, "the other is on duty");
    }

    [Fact]
    public async Task One_request_sent_ten_times_at_once_to_two_servers_makes_one_machine()
    {
        await using var cluster = await FakeCluster.StartAsync(nodes: 2, servers: 2, await NewDatabase.OnPostgresAsync());
        for (var round = 0; round < 5; round++)
        {
            var key = $"key-{round}";
            var machines = await Task.WhenAll(Enumerable.Range(0, 10).Select(i => CreateAsync(cluster.Servers[i % 2].Client, key)));
            Assert.Single(machines.Select(m => m.Id).Distinct());
            await cluster.Client.WaitAsync(machines[0], MachineStates.Started);
            Assert.Equal(round + 1, cluster.Known.Count);
        }
        Assert.Equal(5, (await cluster.Client.GetAsync("/v1/machines").ReadAsync(ApiJson.Default.IReadOnlyListMachine)).Count);
    }

    private static async Task<Machine> CreateAsync(HttpClient client, string key)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/apps/web/machines")
        {
            Content = JsonContent.Create(new CreateMachineRequest { Config = new MachineConfig { Image = "nginx" } }, ApiJson.Default.CreateMachineRequest),
        };
        request.Headers.Add("Idempotency-Key", key);
        return await client.SendAsync(request).ReadAsync(ApiJson.Default.Machine);
    }
}
