using Ravel.Contracts.Api;
using Ravel.ControlPlane.Storage;
using Ravel.Contracts.Node;
using Ravel.ControlPlane;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

public class RestartTests : IAsyncLifetime
{
    private ControlPlaneHost _host = null!;

    /// <summary>Null: a SQLite file.</summary>
    protected virtual Task<DatabaseAddress?> DatabaseAsync() => Task.FromResult<DatabaseAddress?>(null);

    public async ValueTask InitializeAsync()
    {
        _host = await ControlPlaneHost.StartAsync(database: await DatabaseAsync());
        await _host.Client.CreateAppAsync("web");
    }

    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return _host.DisposeAsync();
    }

    [Fact]
    public async Task The_first_start_makes_two_tokens_and_later_ones_none()
    {
        var first = _host.Bootstrapped!;
        using (var tenant = _host.ClientWith(first.NamespaceSecret))
            Assert.Equal("default", Assert.Single((await tenant.GetAsync("/v1/namespaces").ReadAsync(ApiJson.Default.NamespaceList)).Namespaces).Name);

        await RestartAsync();
        Assert.Null(_host.Bootstrapped);
        await _host.Client.GetAsync("/v1/apps/web").OkAsync();
        Assert.True(await _host.Services.IsAdministratorSecretAsync(first.AdministratorSecret, CancellationToken.None));
        Assert.False(await _host.Services.IsAdministratorSecretAsync(first.NamespaceSecret, CancellationToken.None));
    }

    [Fact]
    public async Task Lost_first_tokens_are_made_anew_and_the_lost_ones_are_worth_nothing()
    {
        var lost = _host.Secrets;
        var other = await _host.Client.PostAsync("/v1/tokens", new StringContent("""{"name":"ci","administrator":true}""", System.Text.Encoding.UTF8, "application/json"))
            .ReadAsync(ApiJson.Default.Token);
        var renewed = await _host.Services.RenewBootstrapTokensAsync(CancellationToken.None);
        using var old = _host.ClientWith(lost.AdministratorSecret);
        using var now = _host.ClientWith(renewed.AdministratorSecret);
        using var ci = _host.ClientWith(other.Secret);
        Assert.Equal(ProblemCodes.Unauthorized, (await old.GetAsync("/v1/apps").ProblemAsync()).Code);
        await now.GetAsync("/v1/apps/web").OkAsync();
        await ci.GetAsync("/v1/apps/web").OkAsync();
    }

    [Fact]
    public async Task What_happened_while_the_server_was_down_is_known_after_its_start_and_counted_once()
    {
        var machine = await StartedAsync();
        await _host.StopServerAsync();
        _host.Node.Exit(machine.Id.Value, 9);
        await _host.StartServerAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
        var seen = await _host.Client.GetMachineAsync(machine);
        Assert.Equal(9, seen.Exit!.ExitCode);

        // The node delivers everything again on each new stream.
        await RestartAsync();
        await _host.Node.WaitForAsync(n => n.Acknowledged.LastOrDefault() == n.Outbox[^1].Sequence, Deadline());
        _host.Node.Report(machine.Id.Value, "update", _ => { });
        var after = await EventsAfterAsync(machine, "update");
        Assert.Equal(["update", "stop", "start", "launch", "launch"], after.Select(e => e.Type));
    }

    [Fact]
    public async Task What_was_asked_for_while_the_node_was_away_happens_when_it_is_back()
    {
        var machine = await StartedAsync();
        await _host.Node.StopAsync();
        await _host.Client.DoAsync(machine, "stop").OkAsync();
        Assert.Equal(MachineStates.Stopping, (await _host.Client.GetMachineAsync(machine)).State);
        await _host.Node.StartAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
    }

    [Fact]
    public async Task What_was_asked_for_before_the_server_was_killed_happens_after_its_start()
    {
        var machine = await StartedAsync();
        await _host.Node.StopAsync();
        await _host.Client.DoAsync(machine, "restart").OkAsync();
        await _host.StopServerAsync();
        await _host.Node.StartAsync();
        await _host.StartServerAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        Assert.Equal([DesiredState.Started, DesiredState.Stopped, DesiredState.Started], _host.Node.Puts.Select(p => p.Desired));
        Assert.Equal(3, (await _host.Client.GetMachineAsync(machine)).Generation);
    }

    [Fact]
    public async Task Without_a_node_a_create_is_refused_and_leaves_nothing()
    {
        await _host.Node.StopAsync();
        var problem = await _host.Client.TryCreateMachineAsync("web").ProblemAsync();
        Assert.Equal(ProblemCodes.NodeUnavailable, problem.Code);
        Assert.Equal(503, problem.Status);
        Assert.Empty(await _host.Client.GetAsync("/v1/machines").ReadAsync(ApiJson.Default.IReadOnlyListMachine));
    }

    [Fact]
    public async Task An_event_that_makes_no_sense_does_not_hold_up_those_behind_it()
    {
        var machine = await StartedAsync();
        var next = _host.Node.Outbox[^1].Sequence;
        _host.Node.Append(
            new NodeEvent { Sequence = next + 1, Type = "start" },
            new NodeEvent { Sequence = next + 2, Type = "start", Status = new MachineStatus { MachineId = "no such machine" } },
            new NodeEvent { Sequence = next + 3, Type = "start", Status = new MachineStatus { MachineId = machine.Id.Value, State = (MachineState)99 } },
            new NodeEvent { Sequence = next + 4, Type = new string('x', 100_000), Status = _host.Node.StatusOf(machine.Id.Value) });
        _host.Node.Exit(machine.Id.Value, 0);
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
    }

    [Fact]
    public async Task A_repeated_event_changes_nothing()
    {
        var machine = await StartedAsync();
        var start = _host.Node.Outbox.Last(e => e.Type == "start");
        _host.Node.Exit(machine.Id.Value, 0);
        _host.Node.Append(start);
        _host.Node.Report(machine.Id.Value, "update", _ => { });
        var events = await EventsAfterAsync(machine, "update");
        Assert.Single(events, e => e.Type == "start");
        Assert.Equal(MachineStates.Stopped, (await _host.Client.GetMachineAsync(machine)).State);
    }

    [Fact]
    public async Task A_node_that_delivers_thousands_of_events_again_does_not_hold_up_new_ones()
    {
        var machine = await StartedAsync();
        for (var i = 0; i < 5_000; i++)
            _host.Node.Report(machine.Id.Value, "update", _ => { });
        _host.Node.Exit(machine.Id.Value, 0);
        await _host.Client.WaitAsync(machine, MachineStates.Stopped, 120);
        Assert.True(_host.Node.Acknowledged.Count > 2);
        Assert.Equal(200, (await _host.Client.GetAsync($"{ApiCalls.PathOf(machine)}/events?limit=200").ReadAsync(ApiJson.Default.IReadOnlyListMachineEvent)).Count);
    }

    [Fact]
    public async Task A_destroyed_machine_is_forgotten_after_its_retention()
    {
        await using var host = await ControlPlaneHost.StartAsync(
            o => o with { DestroyedRetention = TimeSpan.Zero, SweepInterval = TimeSpan.FromMilliseconds(20) }, database: await DatabaseAsync());
        await host.Client.CreateAppAsync("web");
        var machine = await host.Client.CreateMachineAsync("web");
        await host.Client.DeleteAsync($"{ApiCalls.PathOf(machine)}?force=true").OkAsync();
        // Ends with "there is no such machine" once the sweep has passed; it is read again at every change, so asked again here.
        while (true)
        {
            using var response = await host.Client.GetAsync(ApiCalls.PathOf(machine), Deadline());
            if (response.StatusCode == System.Net.HttpStatusCode.NotFound)
                break;
        }
    }

    private async Task<IReadOnlyList<Contracts.Api.MachineEvent>> EventsAfterAsync(Contracts.Api.Machine machine, string type)
    {
        var deadline = Deadline();
        while (true)
        {
            var events = await _host.Client.GetAsync($"{ApiCalls.PathOf(machine)}/events", deadline).ReadAsync(ApiJson.Default.IReadOnlyListMachineEvent);
            if (events.Any(e => e.Type == type))
                return events;
        }
    }

    private async Task RestartAsync()
    {
        await _host.StopServerAsync();
        await _host.StartServerAsync();
    }

    private async Task<Contracts.Api.Machine> StartedAsync()
    {
        var machine = await _host.Client.CreateMachineAsync("web");
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        return machine;
    }

    private static CancellationToken Deadline() => new CancellationTokenSource(TimeSpan.FromSeconds(60)).Token;
}
