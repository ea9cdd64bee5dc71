using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.Testing.Cluster;
using Ravel.Testing.Cluster.Bed;

namespace Ravel.EndToEnd.Cluster;

/// <summary>Two servers and two hosts as real processes on a real PostgreSQL: any server serves any request, whichever the nodes announce to.</summary>
public sealed class AnyServerTests(AnyServerTests.Bed two) : IClassFixture<AnyServerTests.Bed>
{
    private readonly TestBed _bed = two.It;

    private BedServer First => _bed.Servers[0];

    private BedServer Second => _bed.Servers[1];

    [Fact]
    public async Task Any_server_serves_any_request_about_a_machine_on_any_node()
    {
        var ids = _bed.Hosts.Select(host => host.NodeId).Order(StringComparer.Ordinal).ToList();
        foreach (var server in _bed.Servers)
            Assert.Equal(ids, (await server.NodesAsync()).Select(node => node.Id));

        // Host 1 joined at the first server and host 2 at the second; each machine is asked about where its node does not announce itself, too.
        foreach (var host in _bed.Hosts)
        {
            var name = $"on-{host.Name}";
            var run = await First.RavelOkAsync(
                "run", "-d", "--name", name, "--constraint", $"host={host.Name}", _bed.Busybox, "sh", "-c", "print ready; ignore-stop; sleep infinity");
            foreach (var server in _bed.Servers)
            {
                var machine = await server.InspectAsync(name);
                Assert.Equal((run.Trim(), host.NodeId), (machine.Id.ToString(), machine.NodeId));
                await using var logs = server.StartRavel("logs", "-f", name);
                Assert.Equal("ready", await logs.ReadLineAsync());
                await using var exec = server.StartRavel("exec", "-i", name, "cat");
                await exec.Input.WriteLineAsync("through " + server.Name);
                await exec.Input.FlushAsync();
                Assert.Equal("through " + server.Name, await exec.ReadLineAsync());
                exec.Input.Close();
                Assert.Equal(0, await exec.WaitAsync());
            }
            await using var waiting = Second.StartRavel("wait", name);
            await using var following = Second.StartRavel("logs", "-f", name);
            Assert.Equal("ready", await following.ReadLineAsync());
            await First.RavelOkAsync("kill", name);
            Assert.Equal("137", await waiting.ReadLineAsync());
            Assert.Equal(0, await following.WaitAsync());
            await Second.RavelOkAsync("rm", "--force", name);
        }
    }

    [Fact]
    public async Task Hosts_that_vanish_are_reported_by_every_server_and_come_back_by_themselves()
    {
        var host = _bed.Hosts[0];

        await host.CutAsync();
        await Until.TrueAsync(async () => (await StatesAsync(host)).All(state => state == NodeStates.Unreachable));
        await host.MendAsync();
        await Until.TrueAsync(async () => (await StatesAsync(host)).All(state => state == NodeStates.Ready));

        await host.KillAgentAsync();
        await Until.TrueAsync(async () => (await StatesAsync(host)).All(state => state == NodeStates.Unreachable));
        host.Return();
        await Until.TrueAsync(async () => (await StatesAsync(host)).All(state => state == NodeStates.Ready));
    }

    [Fact]
    public async Task A_host_that_is_far_away_is_there_all_the_same()
    {
        var host = _bed.Hosts[1];
        var delay = TimeSpan.FromMilliseconds(300);
        await host.DelayAsync(delay);
        // A test before this one may have cut it off: both servers know it again.
        await Until.TrueAsync(async () => (await StatesAsync(host)).All(state => state == NodeStates.Ready));
        var began = TimeProvider.System.GetTimestamp();

        var id = (await First.RavelOkAsync("run", "-d", "--constraint", $"host={host.Name}", _bed.Busybox, "sh", "-c", "sleep infinity")).Trim();
        Assert.Equal("here\n", await Second.RavelOkAsync("exec", id, "print", "here"));

        // There and back again, to reserve and to execute.
        Assert.True(TimeProvider.System.GetElapsedTime(began) > 4 * delay);
        Assert.All(await StatesAsync(host), state => Assert.Equal(NodeStates.Ready, state));
        await Second.RavelOkAsync("rm", "--force", id);
        await host.DelayAsync(TimeSpan.Zero);
    }

    [Fact]
    public async Task Agents_of_a_server_that_is_killed_go_on_with_another_and_find_it_again_when_it_is_alone()
    {
        await Until.TrueAsync(() => _bed.Hosts.All(host => Servers(host).Count == 2));
        await First.KillAsync();
        // Who announced there is heard elsewhere before anyone could miss it: it is never away.
        await Until.TrueAsync(() => _bed.Hosts.All(host => Servers(host) is [var only] && only == Second.Hub));
        Assert.All(await Second.NodesAsync(), node => Assert.Equal(NodeStates.Ready, node.State));

        await First.StartAsync();
        await Until.TrueAsync(() => _bed.Hosts.All(host => Servers(host).Count == 2));
        await Second.KillAsync();
        await Until.TrueAsync(async () => (await First.NodesAsync()).All(node => node.State == NodeStates.Ready));
        await First.RavelOkAsync("run", "-d", "--rm", _bed.Busybox, "sh", "-c", "print alone; exit 0");
        await Second.StartAsync();
    }

    private async Task<IReadOnlyList<string>> StatesAsync(BedHost host) =>
        [.. await Task.WhenAll(_bed.Servers.Select(async server => (await server.NodesAsync()).Single(node => node.Id == host.NodeId).State))];

    private static List<string> Servers(BedHost host)
    {
        using var document = JsonDocument.Parse(File.ReadAllText(System.IO.Path.Combine(host.DataDirectory, "agent", "identity.json")));
        return [.. document.RootElement.GetProperty("servers").EnumerateArray().Select(server => server.GetString()!)];
    }

    /// <summary>Shared by the tests, which leave it as it was.</summary>
    public sealed class Bed : IAsyncLifetime
    {
        public TestBed It { get; private set; } = null!;

        public async ValueTask InitializeAsync() => It = await TestBed.CreateAsync(new TestBedOptions());

        public ValueTask DisposeAsync() => It?.DisposeAsync() ?? ValueTask.CompletedTask;
    }
}
