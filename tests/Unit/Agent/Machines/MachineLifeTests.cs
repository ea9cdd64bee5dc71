using Grpc.Core;
using Ravel.Agent.Capacity;
using Ravel.Agent.Instances;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable;
using Ravel.Testing.Agent;
using Ravel.Vmm.Fake;
using RestartPolicy = Ravel.Contracts.Node.RestartPolicy;

namespace Ravel.Unit.Agent.Machines;

/// <summary>A machine's life on a host of fakes, told through the node's service.</summary>
public sealed class MachineLifeTests : IAsyncDisposable
{
    private readonly AgentFixture _host = new();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task The_same_command_twice_and_an_older_one_later_change_nothing()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        var commits = _host.Commits;
        await _host.PutAsync(machine, 1, DesiredState.Started);
        await _host.PutAsync(machine, 1, DesiredState.Destroyed);
        Assert.Equal(commits, _host.Commits);
        Assert.Equal(MachineState.Started, _host.Status(machine)!.State);
        Assert.Single(_host.Driver.Vms);
    }

    [Fact]
    public async Task A_destroy_that_overtakes_the_start_wins()
    {
        await _host.StartAsync();
        var machine = MachineId.New();
        Assert.Equal(MachineState.Destroyed, (await _host.PutAsync(machine, 2, DesiredState.Destroyed)).State);
        Assert.Equal(MachineState.Destroyed, (await _host.PutAsync(machine, 1, DesiredState.Started)).State);
        Assert.Empty(_host.Driver.Vms);
        await _host.KillAndRestartAsync();
        Assert.Equal(MachineState.Destroyed, (await _host.PutAsync(machine, 1, DesiredState.Started)).State);
    }

    [Fact]
    public async Task A_machine_can_be_destroyed_while_its_image_is_pulled()
    {
        await _host.StartAsync();
        var pulling = new TaskCompletionSource();
        _host.Images.OnEnsure = async (_, cancellation) =>
        {
            pulling.SetResult();
            await Task.Delay(Timeout.Infinite, cancellation);
        };
        var machine = MachineId.New();
        await _host.PutAsync(machine, 1, DesiredState.Started);
        await pulling.Task;
        await _host.PutAsync(machine, 2, DesiredState.Destroyed);
        await _host.UntilAsync(machine, MachineState.Destroyed);
        Assert.Empty(_host.Network.Attached);
    }

    [Fact]
    public async Task A_machine_can_be_stopped_while_its_VMM_is_launched()
    {
        await _host.StartAsync();
        var launching = new TaskCompletionSource();
        _host.Driver.Faults = _ =>
        {
            launching.TrySetResult();
            return new FakeVmmFaults { LaunchHangs = true };
        };
        var machine = MachineId.New();
        await _host.PutAsync(machine, 1, DesiredState.Started);
        await launching.Task;
        await _host.PutAsync(machine, 2, DesiredState.Stopped);
        await _host.UntilAsync(machine, MachineState.Stopped);
        Assert.Empty(_host.Network.Attached);
    }

    [Theory]
    [InlineData("missing", ProblemCodes.ImageNotFound)]
    public async Task An_image_that_cannot_be_had_fails_the_machine_with_its_code(string image, string code)
    {
        await _host.StartAsync();
        var spec = AgentFixture.Spec();
        spec.Image = image;
        await AssertFailsAsync(spec, code, image);
    }

    [Fact]
    public async Task An_image_without_a_command_fails_before_anything_is_made()
    {
        _host.Images.Add("mute", new Ravel.Images.ImageConfig());
        await _host.StartAsync();
        var spec = AgentFixture.Spec();
        spec.Image = "mute";
        await AssertFailsAsync(spec, ProblemCodes.InvalidRequest, "command");
        Assert.Equal(0, _host.Images.LeasesOf("mute"));
    }

    [Fact]
    public async Task A_taken_port_fails_the_machine()
    {
        await _host.StartAsync();
        _host.Network.TakenPorts.Add(8080);
        var spec = AgentFixture.Spec();
        spec.Ports.Add(new PublishedPort { Protocol = "tcp", HostPort = 8080, GuestPort = 80 });
        await AssertFailsAsync(spec, ProblemCodes.PortTaken, "8080");
    }

    [Fact]
    public async Task A_launch_that_is_refused_fails_the_machine_in_the_VMMs_words()
    {
        await _host.StartAsync();
        _host.Driver.Faults = _ => new FakeVmmFaults { LaunchFailure = "no kernel" };
        await AssertFailsAsync(AgentFixture.Spec(), ProblemCodes.VmmFailed, "no kernel");
        Assert.Empty(_host.Network.Attached);
    }

    [Fact]
    public async Task A_VMM_that_dies_at_once_fails_the_machine_and_the_log_says_why()
    {
        await _host.StartAsync();
        _host.Driver.Faults = _ => new FakeVmmFaults { DiesAfterLaunch = true };
        var machine = await AssertFailsAsync(AgentFixture.Spec(), ProblemCodes.VmmFailed, "told to die");
        Assert.Contains(await _host.LogsAsync(machine), line => line.Stream == "system" && line.Data.ToStringUtf8().Contains("booting", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_guest_that_never_says_hello_is_given_up()
    {
        _host.Instances = _host.Instances with { BootTimeout = TimeSpan.FromMilliseconds(300) };
        await _host.StartAsync();
        _host.Driver.Faults = _ => new FakeVmmFaults { LinkIsSilent = true };
        await AssertFailsAsync(AgentFixture.Spec(), ProblemCodes.GuestFailed, "did not start");
        Assert.Empty(_host.Driver.Vms);
    }

    [Fact]
    public async Task A_guest_that_breaks_the_protocol_is_cut_off_and_the_machine_fails_with_the_reason()
    {
        await _host.StartAsync();
        _host.Driver.Faults = _ => new FakeVmmFaults { LinkIsGarbage = true };
        await AssertFailsAsync(AgentFixture.Spec(), ProblemCodes.GuestFailed, "broke its link 3 times: the guest sent");
        Assert.Empty(_host.Driver.Vms);
    }

    [Fact]
    public async Task A_workload_that_cannot_be_started_keeps_its_exit_code_and_reason()
    {
        await _host.StartAsync();
        var machine = MachineId.New();
        await _host.PutAsync(machine, 1, DesiredState.Started, AgentFixture.Spec("no-such-program"));
        var status = await _host.UntilAsync(machine, MachineState.Failed);
        Assert.Equal(127, status.Exit.Code);
        Assert.Equal(ProblemCodes.GuestFailed, status.Problem.Code);
    }

    [Fact]
    public async Task A_VM_that_is_lost_is_started_again_when_the_policy_says_so()
    {
        await _host.StartAsync();
        var spec = AgentFixture.Spec();
        spec.Restart = new RestartPolicy { Kind = RestartPolicy.Types.Kind.OnFailure };
        var machine = await _host.RunAsync(spec);
        var first = _host.Status(machine)!.InstanceId;
        _host.VmOf(machine).Die();
        var status = await _host.UntilAsync(machine, s => s.State == MachineState.Started && s.InstanceId != first);
        Assert.Equal(1u, status.Restarts);
        Assert.Single(_host.Driver.Vms);
    }

    [Fact]
    public async Task A_VM_that_is_lost_fails_the_machine_without_a_policy()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        _host.VmOf(machine).Die();
        var status = await _host.UntilAsync(machine, MachineState.Failed);
        Assert.Equal(ProblemCodes.VmmFailed, status.Problem.Code);
        Assert.Null(status.Exit);
    }

    [Fact]
    public async Task Restarts_end_when_the_retries_are_used_up()
    {
        await _host.StartAsync();
        var spec = AgentFixture.Spec("sh", "-c", "print try; exit 1");
        spec.Restart = new RestartPolicy { Kind = RestartPolicy.Types.Kind.OnFailure, MaxRetries = 2 };
        var machine = MachineId.New();
        await _host.PutAsync(machine, 1, DesiredState.Started, spec);
        var status = await _host.UntilAsync(machine, MachineState.Stopped);
        Assert.Equal((2u, 1), (status.Restarts, status.Exit.Code));
        Assert.Equal("try\ntry\ntry\n", string.Concat((await _host.LogsAsync(machine)).Select(l => l.Data.ToStringUtf8())));
    }

    [Fact]
    public async Task A_workload_that_ignores_the_signal_is_killed_after_its_time()
    {
        await _host.StartAsync();
        var spec = AgentFixture.Spec("sh", "-c", "ignore-stop; print ready; sleep infinity");
        spec.Stop = new StopPolicy { Timeout = Google.Protobuf.WellKnownTypes.Duration.FromTimeSpan(TimeSpan.FromMilliseconds(50)) };
        var machine = await _host.RunAsync(spec);
        await _host.PutAsync(machine, 2, DesiredState.Stopped, spec);
        Assert.Equal(137, (await _host.UntilAsync(machine, MachineState.Stopped)).Exit.Code);
    }

    [Fact]
    public async Task A_forced_stop_asks_nobody()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        await _host.PutAsync(machine, 2, DesiredState.Stopped, force: true);
        var status = await _host.UntilAsync(machine, MachineState.Stopped);
        Assert.Equal((137, true), (status.Exit.Code, status.Exit.Requested));
        Assert.Empty(_host.Driver.Vms);
    }

    [Fact]
    public async Task A_step_that_cannot_be_undone_at_once_is_undone_later()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        _host.Network.DetachFailures = 1;
        await _host.PutAsync(machine, 2, DesiredState.Stopped);
        await _host.UntilAsync(machine, MachineState.Stopped);
        Assert.Empty(_host.Network.Attached);
    }

    [Fact]
    public async Task The_disk_is_kept_for_the_same_image_and_made_anew_for_another()
    {
        _host.Images.Add("other");
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        var disk = Directory.EnumerateFiles(_host.DiskDirectory).Single();
        await File.AppendAllTextAsync(disk, "written");
        var other = AgentFixture.Spec();
        other.Hostname = "other";
        await _host.PutAsync(machine, 2, DesiredState.Started, other);
        await _host.UntilAsync(machine, s => s is { State: MachineState.Started, ObservedGeneration: 2 });
        Assert.EndsWith("written", await File.ReadAllTextAsync(disk), StringComparison.Ordinal);

        other.Image = "other";
        await _host.PutAsync(machine, 3, DesiredState.Started, other);
        await _host.UntilAsync(machine, s => s is { State: MachineState.Started, ObservedGeneration: 3 });
        Assert.DoesNotContain("written", await File.ReadAllTextAsync(disk), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_does_not_fit_is_refused_and_leaves_no_trace()
    {
        _host.Capacity = new CapacityOptions { MaxMachines = 1 };
        await _host.StartAsync();
        await _host.RunAsync();
        var refused = await Assert.ThrowsAsync<RpcException>(() => _host.PutAsync(MachineId.New(), 1, DesiredState.Started));
        Assert.Equal(StatusCode.FailedPrecondition, refused.StatusCode);
        Assert.Equal(ProblemCodes.InsufficientCapacity, refused.Trailers.GetValue(NodeTrailers.ProblemCode));
        Assert.Single(_host.Agent.Machines.Records);
    }

    [Fact]
    public async Task A_reservation_keeps_room_until_its_machine_comes()
    {
        _host.Capacity = new CapacityOptions { MaxMachines = 1 };
        await _host.StartAsync();
        var machine = MachineId.New();
        var request = new ReserveRequest
        {
            MachineId = machine.Value,
            Generation = 1,
            Resources = new Resources { Cpus = 1, MemoryMib = 64, DiskMib = 16 },
            Ttl = Google.Protobuf.WellKnownTypes.Duration.FromTimeSpan(TimeSpan.FromMinutes(1)),
        };
        var reservation = await _host.Service.Reserve(request, FakeCall.Context());
        await _host.KillAndRestartAsync();
        await Assert.ThrowsAsync<RpcException>(() => _host.PutAsync(MachineId.New(), 1, DesiredState.Started));
        await _host.PutAsync(machine, 1, DesiredState.Started, reservation: reservation.ReservationId);
        await _host.UntilAsync(machine, MachineState.Started);
    }

    [Fact]
    public async Task All_are_stopped_with_the_node_and_run_again_after_it()
    {
        _host.Instances = _host.Instances with { RestartBackoff = new BackoffPolicy(TimeSpan.FromHours(1), 1, TimeSpan.FromHours(1)) };
        await _host.StartAsync();
        var running = await _host.RunAsync();
        var done = MachineId.New();
        await _host.PutAsync(done, 1, DesiredState.Started, AgentFixture.Spec("exit", "0"));
        await _host.UntilAsync(done, MachineState.Stopped);
        var waiting = MachineId.New();
        var spec = AgentFixture.Spec("exit", "1");
        spec.Restart = new RestartPolicy { Kind = RestartPolicy.Types.Kind.Always };
        await _host.PutAsync(waiting, 1, DesiredState.Started, spec);
        await _host.UntilAsync(waiting, _ => _host.Agent.Machines.Find(waiting)?.Record?.State == InstanceState.Waiting);

        var response = await _host.Service.StopAll(new StopAllRequest(), FakeCall.Context());
        Assert.Equal(2u, response.Stopped);
        Assert.Empty(_host.Driver.Vms);
        Assert.Empty(_host.Network.Attached);
        var refused = await Assert.ThrowsAsync<RpcException>(() => _host.PutAsync(MachineId.New(), 1, DesiredState.Started));
        Assert.Equal(ProblemCodes.NodeUnavailable, refused.Trailers.GetValue(NodeTrailers.ProblemCode));

        await _host.KillAndRestartAsync();
        await _host.UntilAsync(running, MachineState.Started);
        await _host.UntilAsync(waiting, s => s.Exit is not null);
        Assert.Equal(MachineState.Stopped, _host.Status(done)!.State);
    }

    private async Task<MachineId> AssertFailsAsync(MachineSpec spec, string code, string words)
    {
        var machine = MachineId.New();
        await _host.PutAsync(machine, 1, DesiredState.Started, spec);
        var status = await _host.UntilAsync(machine, MachineState.Failed);
        Assert.Equal(code, status.Problem.Code);
        Assert.Contains(words, status.Problem.Message, StringComparison.Ordinal);
        Assert.Equal(1UL, status.ObservedGeneration);
        return machine;
    }
}
