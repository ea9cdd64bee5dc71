using Ravel.Contracts.Api;
using Ravel.ControlPlane.Storage;
using Ravel.Contracts.Node;
using Ravel.Testing.ControlPlane;
using Machine = Ravel.Contracts.Api.Machine;

namespace Ravel.Integration.ControlPlane;

public class MachineApiTests : IAsyncLifetime
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
    public async Task A_created_machine_runs_on_the_node_and_is_shown_with_what_the_node_said()
    {
        var created = await _host.Client.CreateMachineAsync("web", Request("front"));
        Assert.Equal("front", created.Name);
        Assert.Equal(MachineStates.Starting, created.State);
        Assert.Equal("launch", Assert.Single(created.Events).Type);

        await _host.Client.WaitAsync(created, MachineStates.Started);
        var machine = await _host.Client.GetMachineAsync(created);
        Assert.Equal(MachineStates.Started, machine.State);
        Assert.Equal("fd00::2", machine.PrivateIp);
        Assert.Equal("100.64.0.2", machine.NodeIpv4);
        Assert.Equal(_host.Node.StatusOf(machine.Id.Value)!.InstanceId, machine.InstanceId);
        Assert.Equal("sha256:" + new string('a', 64), machine.ImageRef!.Digest);
        Assert.Equal("library/nginx", machine.ImageRef.Repository);
        Assert.Equal(["start", "launch", "launch"], machine.Events.Select(e => e.Type));
    }

    [Fact]
    public async Task The_node_is_told_the_spec_and_given_the_reservation()
    {
        var machine = await _host.Client.CreateMachineAsync("web", new CreateMachineRequest
        {
            Config = new MachineConfig
            {
                Image = "nginx:1",
                Guest = new GuestSize { Cpus = 2, MemoryMb = 512 },
                Env = new Dictionary<string, string> { ["A"] = "1" },
                Init = new InitConfig { Exec = ["sh", "-c", "true"] },
                PublishedPorts = [new PortConfig { HostPort = 8080, GuestPort = 80 }],
                StopConfig = new StopConfig { Signal = "SIGINT", Timeout = 3 },
            },
        });
        await _host.Client.WaitAsync(machine, MachineStates.Started);

        var put = Assert.Single(_host.Node.Puts);
        Assert.Equal(2u, put.Spec.Cpus);
        Assert.Equal(512ul, put.Spec.MemoryMib);
        Assert.Equal(["sh", "-c", "true"], put.Spec.Entrypoint.Values);
        Assert.Empty(put.Spec.Command.Values);
        Assert.Equal("A", Assert.Single(put.Spec.Environment).Name);
        Assert.Equal("tcp", Assert.Single(put.Spec.Ports).Protocol);
        Assert.Equal(2, put.Spec.Stop.Signal);
        Assert.Equal(3, put.Spec.Stop.Timeout.Seconds);
        Assert.Equal($"r-{machine.Id}-1", put.ReservationId);
        Assert.Equal("default", put.Spec.Namespace);
        Assert.Equal(machine.Name, put.Spec.Name);
    }

    [Fact]
    public async Task A_suspended_machine_is_started_again_and_one_at_rest_is_not_suspended()
    {
        var machine = await StartedAsync();
        var answer = await _host.Client.DoAsync(machine, "suspend").ReadAsync(ApiJson.Default.Acknowledgement);
        Assert.Equal(MachineStates.Started, answer.PreviousState);
        await _host.Client.WaitAsync(machine, MachineStates.Suspended);
        Assert.Equal(DesiredState.Suspended, _host.Node.Puts.Last().Desired);
        await _host.Client.DoAsync(machine, "suspend").OkAsync();
        await _host.Client.DoAsync(machine, "start").OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        await _host.Client.DoAsync(machine, "stop").OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
        var refused = await _host.Client.DoAsync(machine, "suspend").ProblemAsync();
        Assert.Equal(ProblemCodes.IllegalState, refused.Code);
    }

    [Fact]
    public async Task Stop_start_and_restart_go_through_the_node_each_with_a_new_generation()
    {
        var machine = await StartedAsync();
        await _host.Client.DoAsync(machine, "stop").OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
        var stopped = await _host.Client.GetMachineAsync(machine);
        Assert.Equal(143, stopped.Exit!.ExitCode);
        Assert.True(stopped.Exit.RequestedStop);

        var answer = await _host.Client.DoAsync(machine, "start").ReadAsync(ApiJson.Default.Acknowledgement);
        Assert.Equal(MachineStates.Stopped, answer.PreviousState);
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        await _host.Client.DoAsync(machine, "restart").OkAsync();
        await _host.Node.WaitForAsync(n => n.Puts.Count == 5, Deadline());
        await _host.Client.WaitAsync(machine, MachineStates.Started);

        Assert.Equal(
            [DesiredState.Started, DesiredState.Stopped, DesiredState.Started, DesiredState.Stopped, DesiredState.Started],
            _host.Node.Puts.Select(p => p.Desired));
        Assert.Equal([1ul, 2, 3, 4, 5], _host.Node.Puts.Select(p => p.Generation));
    }

    [Fact]
    public async Task Start_of_a_started_machine_changes_nothing()
    {
        var machine = await StartedAsync();
        await _host.Client.DoAsync(machine, "start").OkAsync();
        Assert.Equal(1, (await _host.Client.GetMachineAsync(machine)).Generation);
        Assert.Single(_host.Node.Puts);
    }

    [Fact]
    public async Task A_stop_carries_its_own_signal_and_timeout()
    {
        var machine = await StartedAsync();
        await _host.Client.DoAsync(machine, "stop", Json("""{"signal":"SIGKILL","timeout":"1m"}""")).OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
        var put = _host.Node.Puts.Last();
        Assert.Equal(9, put.Spec.Stop.Signal);
        Assert.Equal(60, put.Spec.Stop.Timeout.Seconds);
    }

    [Fact]
    public async Task A_running_machine_is_destroyed_only_by_force()
    {
        var machine = await StartedAsync();
        Assert.Equal(ProblemCodes.IllegalState, (await _host.Client.DeleteAsync(ApiCalls.PathOf(machine)).ProblemAsync()).Code);
        await _host.Client.DeleteAsync($"{ApiCalls.PathOf(machine)}?force=true").OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Destroyed);
        Assert.True(_host.Node.Puts.Last().Force);
    }

    [Fact]
    public async Task A_destroyed_machine_leaves_the_lists_but_can_be_read_for_a_while_and_its_name_is_free()
    {
        var machine = await StartedAsync("front");
        _host.Node.Exit(machine.Id.Value, 7);
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
        await _host.Client.DeleteAsync(ApiCalls.PathOf(machine)).OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Destroyed);

        Assert.Empty(await ListAsync("/v1/machines"));
        Assert.Empty(await ListAsync("/v1/apps/web/machines"));
        Assert.Single(await ListAsync("/v1/machines?include_deleted=true"));
        var seen = await _host.Client.GetMachineAsync(machine);
        Assert.Equal(MachineStates.Destroyed, seen.State);
        Assert.Equal(7, seen.Exit!.ExitCode);
        await _host.Client.DeleteAsync(ApiCalls.PathOf(machine)).OkAsync();
        Assert.Equal(ProblemCodes.IllegalState, (await _host.Client.DoAsync(machine, "start").ProblemAsync()).Code);
        await _host.Client.CreateMachineAsync("web", Request("front"));
    }

    [Fact]
    public async Task A_machine_with_auto_destroy_is_gone_when_its_workload_has_ended()
    {
        var machine = await _host.Client.CreateMachineAsync("web", new CreateMachineRequest
        {
            Config = new MachineConfig { Image = "nginx", AutoDestroy = true },
        });
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        _host.Node.Exit(machine.Id.Value, 3);
        await _host.Client.WaitAsync(machine, MachineStates.Destroyed);
        Assert.Equal(3, (await _host.Client.GetMachineAsync(machine)).Exit!.ExitCode);
        Assert.Null(_host.Node.StatusOf(machine.Id.Value));
    }

    [Fact]
    public async Task A_machine_created_with_skip_launch_starts_when_told_to()
    {
        var machine = await _host.Client.CreateMachineAsync("web", Request("later") with { SkipLaunch = true });
        Assert.Equal(MachineStates.Created, machine.State);
        await _host.Client.WaitAsync(machine, MachineStates.Created);
        await _host.Client.DoAsync(machine, "start").OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Started);
    }

    [Fact]
    public async Task An_update_of_a_running_machine_stops_it_and_starts_it_with_the_new_configuration()
    {
        var machine = await StartedAsync();
        var updated = await _host.Client.PostJsonAsync(
            ApiCalls.PathOf(machine),
            new CreateMachineRequest { Config = new MachineConfig { Image = "nginx:2" } },
            ApiJson.Default.CreateMachineRequest).ReadAsync(ApiJson.Default.Machine);
        Assert.Equal("nginx:2", updated.Config.Image);
        await _host.Node.WaitForAsync(n => n.Puts.Count == 3, Deadline());
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        var put = _host.Node.Puts.Last();
        Assert.Equal("nginx:2", put.Spec.Image);
        Assert.Equal(DesiredState.Started, put.Desired);
        Assert.Equal(3ul, put.Generation);
    }

    [Fact]
    public async Task Metadata_is_set_read_filtered_by_and_removed_without_touching_the_machine()
    {
        var machine = await StartedAsync();
        await _host.Client.DoAsync(machine, "metadata/role", Json("""{"value":"front"}""")).OkAsync();
        var metadata = await _host.Client.GetAsync($"{ApiCalls.PathOf(machine)}/metadata").ReadAsync(ApiJson.Default.IReadOnlyDictionaryStringString);
        Assert.Equal("front", metadata["role"]);
        Assert.Single(await ListAsync("/v1/apps/web/machines?metadata.role=front"));
        Assert.Empty(await ListAsync("/v1/apps/web/machines?metadata.role=back"));
        await _host.Client.DeleteAsync($"{ApiCalls.PathOf(machine)}/metadata/role").OkAsync();
        Assert.Empty(await ListAsync("/v1/apps/web/machines?metadata.role=front"));
        Assert.Single(_host.Node.Puts);
    }

    [Fact]
    public async Task A_signal_reaches_a_started_machine_and_is_refused_for_a_stopped_one()
    {
        var machine = await StartedAsync();
        await _host.Client.DoAsync(machine, "signal", Json("""{"signal":"hup"}""")).OkAsync();
        Assert.Equal(1, Assert.Single(_host.Node.Signals).Signal);
        _host.Node.Exit(machine.Id.Value, 0);
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
        var problem = await _host.Client.DoAsync(machine, "signal", Json("""{"signal":"hup"}""")).ProblemAsync();
        Assert.Equal(ProblemCodes.IllegalState, problem.Code);
    }

    [Fact]
    public async Task A_node_without_room_is_a_refusal_to_the_caller_and_leaves_nothing()
    {
        _host.Node.Slots = 1;
        await StartedAsync();
        var problem = await _host.Client.TryCreateMachineAsync("web").ProblemAsync();
        Assert.Equal(ProblemCodes.InsufficientCapacity, problem.Code);
        Assert.Equal("0 of 1 node fits: 1 has no slot for a machine left.", problem.Detail);
        Assert.Single(await ListAsync("/v1/machines"));
    }

    [Fact]
    public async Task A_refusal_of_the_spec_by_the_node_fails_the_machine_and_is_not_repeated()
    {
        _host.Node.OnPut = put =>
        {
            if (put.Desired == DesiredState.Started)
                throw FakeNode.Refusal(ProblemCodes.PortTaken, "Port 80 of the host is taken.");
        };
        var machine = await _host.Client.CreateMachineAsync("web");
        await _host.Client.WaitAsync(machine, MachineStates.Failed);
        var failed = await _host.Client.GetMachineAsync(machine);
        Assert.Equal(ProblemCodes.PortTaken, failed.Problem!.Code);
        var wait = await _host.Client.GetAsync($"{ApiCalls.PathOf(machine)}/wait?state=started").ProblemAsync();
        Assert.Contains("Port 80 of the host is taken", wait.Detail, StringComparison.Ordinal);

        _host.Node.OnPut = null;
        await _host.Client.DoAsync(machine, "start").OkAsync();
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        Assert.Equal([1ul, 2], _host.Node.Puts.Select(p => p.Generation));
        Assert.Null((await _host.Client.GetMachineAsync(machine)).Problem);
    }

    [Fact]
    public async Task A_machine_answers_to_its_name_while_it_lives()
    {
        var machine = await StartedAsync("front");
        var byName = await _host.Client.GetAsync("/v1/apps/web/machines/front").ReadAsync(ApiJson.Default.Machine);
        Assert.Equal(machine.Id, byName.Id);
        await _host.Client.PostAsync("/v1/apps/web/machines/front/stop", null).OkAsync();
        await _host.Client.GetAsync("/v1/apps/web/machines/front/wait?state=stopped").OkAsync();
        var destroyed = _host.Client.GetAsync("/v1/apps/web/machines/front/wait?state=destroyed");
        await _host.Client.DeleteAsync("/v1/apps/web/machines/front").OkAsync();
        await destroyed.OkAsync();
        Assert.Equal(ProblemCodes.MachineNotFound, (await _host.Client.GetAsync("/v1/apps/web/machines/front").ProblemAsync()).Code);
    }

    [Fact]
    public async Task Waiting_for_started_does_not_miss_a_job_that_ended_at_once()
    {
        var machine = await StartedAsync();
        _host.Node.Exit(machine.Id.Value, 0);
        await _host.Client.WaitAsync(machine, MachineStates.Stopped);
        await _host.Client.WaitAsync(machine, MachineStates.Started, timeout: 0);
    }

    [Fact]
    public async Task A_wait_ends_at_its_limit_with_a_timeout()
    {
        var machine = await StartedAsync();
        var problem = await _host.Client.GetAsync($"{ApiCalls.PathOf(machine)}/wait?state=stopped&timeout=0").ProblemAsync();
        Assert.Equal(ProblemCodes.Timeout, problem.Code);
        Assert.Equal(408, problem.Status);
    }

    [Fact]
    public async Task Fifty_creates_at_once_give_fifty_started_machines_with_names_of_their_own()
    {
        var machines = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => _host.Client.CreateMachineAsync("web")));
        await Task.WhenAll(machines.Select(m => _host.Client.WaitAsync(m, MachineStates.Started, 120)));
        Assert.Equal(50, machines.Select(m => m.Name).Distinct().Count());
        Assert.Equal(50, _host.Node.Puts.Select(p => p.MachineId).Distinct().Count());
    }

    [Fact]
    public async Task Fifty_creates_of_one_name_at_once_give_one_machine()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => _host.Client.TryCreateMachineAsync("web", Request("only"))));
        Assert.Single(answers, a => a.IsSuccessStatusCode);
        Assert.Equal(49, answers.Count(a => a.StatusCode == System.Net.HttpStatusCode.Conflict));
        Assert.Single(await ListAsync("/v1/machines"));
    }

    private static CreateMachineRequest Request(string name) => new() { Name = name, Config = new MachineConfig { Image = "nginx" } };

    private static StringContent Json(string text) => new(text, System.Text.Encoding.UTF8, "application/json");

    private static CancellationToken Deadline() => new CancellationTokenSource(TimeSpan.FromSeconds(60)).Token;

    private Task<IReadOnlyList<Machine>> ListAsync(string path) => _host.Client.GetAsync(path).ReadAsync(ApiJson.Default.IReadOnlyListMachine);

    private async Task<Machine> StartedAsync(string? name = null)
    {
        var machine = await _host.Client.CreateMachineAsync("web", name is null ? null : Request(name));
        await _host.Client.WaitAsync(machine, MachineStates.Started);
        return machine;
    }
}
