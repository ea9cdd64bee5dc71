using Ravel.Agent.Instances;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;
using Ravel.Vmm;
using Ravel.Vmm.Fake;

namespace Ravel.Unit.Agent.Machines;

public sealed class SuspendTests : IAsyncLifetime
{
    private const string Job = "print one; sleep 0.3; print two; sleep";

    private readonly AgentFixture _host = new();

    private string MemoryDirectory => Path.Combine(_host.Options.DataDirectory, "agent", "memory");

    public async ValueTask InitializeAsync() => await _host.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_suspended_machine_holds_nothing_but_disk_and_goes_on_where_it_was()
    {
        var machine = await SuspendedAsync();
        var status = _host.Status(machine)!;
        Assert.Empty(_host.Driver.Vms);
        Assert.Empty(_host.Network.Attached);
        var held = _host.Agent.Machines.Ledger.Allocated(DateTimeOffset.UnixEpoch);
        Assert.Equal((0, 0L, 16 + _host.Options.BesidesDiskMib + 64 + MachineRecord.SavedDevicesMib), (held.Cpus, held.MemoryMib, held.DiskMib));
        Assert.Equal(1, _host.Images.LeasesOf(AgentFixture.Image));

        await _host.PutAsync(machine, 3, DesiredState.Started, Spec());
        var resumed = await _host.UntilAsync(machine, MachineState.Started);
        Assert.Equal(status.InstanceId, resumed.InstanceId);
        Assert.Equal(3UL, resumed.ObservedGeneration);
        await LogsAsync(machine, "one\ntwo\n");
        Assert.Empty(Directory.EnumerateFileSystemEntries(MemoryDirectory));
    }

    [Fact]
    public async Task Stopping_a_suspended_machine_drops_its_memory()
    {
        var machine = await SuspendedAsync();
        await _host.PutAsync(machine, 3, DesiredState.Stopped, Spec());
        await _host.UntilAsync(machine, MachineState.Stopped);
        Assert.Empty(Directory.EnumerateFileSystemEntries(MemoryDirectory));
        Assert.Equal(0, _host.Images.LeasesOf(AgentFixture.Image));

        await _host.PutAsync(machine, 4, DesiredState.Started, Spec());
        await _host.UntilAsync(machine, MachineState.Started);
        Assert.Single(_host.Driver.Vms);
    }

    [Fact]
    public async Task Destroying_a_suspended_machine_leaves_nothing()
    {
        var machine = await SuspendedAsync();
        await _host.PutAsync(machine, 3, DesiredState.Destroyed);
        await _host.UntilAsync(machine, MachineState.Destroyed);
        Assert.Empty(Directory.EnumerateFileSystemEntries(MemoryDirectory));
        Assert.Empty(Directory.EnumerateFiles(_host.DiskDirectory));
        Assert.Equal(0, _host.Images.LeasesOf(AgentFixture.Image));
        Assert.Equal(default, _host.Agent.Machines.Ledger.Allocated(DateTimeOffset.UnixEpoch));
    }

    [Fact]
    public async Task A_suspended_machine_outlives_the_agent_and_the_host()
    {
        var machine = await SuspendedAsync();
        await _host.KillAndRestartAsync();
        Assert.Equal(MachineState.Suspended, _host.Status(machine)!.State);
        Assert.Equal(1, _host.Images.LeasesOf(AgentFixture.Image));
        await _host.RebootAsync();
        Assert.Equal(MachineState.Suspended, _host.Status(machine)!.State);
        await _host.PutAsync(machine, 3, DesiredState.Started, Spec());
        await _host.UntilAsync(machine, MachineState.Started);
    }

    [Fact]
    public async Task Another_specification_begins_anew()
    {
        var machine = await SuspendedAsync();
        var instance = _host.Status(machine)!.InstanceId;
        await _host.PutAsync(machine, 3, DesiredState.Started, AgentFixture.Spec("sh", "-c", "print new; sleep"));
        var status = await _host.UntilAsync(machine, MachineState.Started);
        Assert.NotEqual(instance, status.InstanceId);
        Assert.Empty(Directory.EnumerateFileSystemEntries(MemoryDirectory));
    }

    [Fact]
    public async Task A_VMM_that_does_not_take_the_memory_starts_the_machine_anew()
    {
        // Nothing more to say, whenever it was suspended.
        var spec = AgentFixture.Spec("sh", "-c", "print one; sleep");
        var machine = await SuspendedAsync(spec);
        var instance = _host.Status(machine)!.InstanceId;
        _host.Driver.Faults = vm => vm.Restore is null ? new FakeVmmFaults() : new FakeVmmFaults { RestoreFailure = "unknown version" };
        await _host.PutAsync(machine, 3, DesiredState.Started, spec);
        var status = await _host.UntilAsync(machine, MachineState.Started);
        Assert.NotEqual(instance, status.InstanceId);
        Assert.Null(status.Problem);
        await LogsAsync(machine, "one\none\n");
        Assert.Empty(Directory.EnumerateFileSystemEntries(MemoryDirectory));
        var lost = (await _host.EventsAsync(until: e => e.Type == "start" && e.Status.Generation == 3)).Single(e => e.Type == "memory-lost");
        Assert.Equal("vmm-failed", lost.Status.Problem.Code);
        Assert.Contains("without its saved memory", lost.Status.Problem.Message, StringComparison.Ordinal);
        Assert.Contains("unknown version", lost.Status.Problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_launch_that_fails_for_another_reason_leaves_the_memory_for_the_next_try()
    {
        const string Reason = "the host has no memory left";
        var machine = await SuspendedAsync();
        var instance = _host.Status(machine)!.InstanceId;
        _host.Driver.Faults = _ => new FakeVmmFaults { LaunchFailure = Reason };
        await _host.PutAsync(machine, 3, DesiredState.Started, Spec());
        var failed = await _host.UntilAsync(machine, MachineState.Failed);
        Assert.Contains(Reason, failed.Problem.Message, StringComparison.Ordinal);
        Assert.Single(Directory.EnumerateFileSystemEntries(MemoryDirectory));

        _host.Driver.Faults = _ => new FakeVmmFaults();
        await _host.PutAsync(machine, 4, DesiredState.Started, Spec());
        Assert.Equal(instance, (await _host.UntilAsync(machine, MachineState.Started)).InstanceId);
        await LogsAsync(machine, "one\ntwo\n");
    }

    [Fact]
    public async Task Whatever_else_keeps_it_from_going_on_leaves_the_memory_for_the_next_try()
    {
        var spec = Spec();
        spec.Ports.Add(new PublishedPort { Protocol = "tcp", HostPort = 80, GuestPort = 80 });
        var machine = await SuspendedAsync(spec);
        _host.Network.TakenPorts.Add(80);
        await _host.PutAsync(machine, 3, DesiredState.Started, spec);
        var failed = await _host.UntilAsync(machine, MachineState.Failed);
        Assert.Equal("port-taken", failed.Problem.Code);

        _host.Network.TakenPorts.Clear();
        await _host.PutAsync(machine, 4, DesiredState.Started, spec);
        var resumed = await _host.UntilAsync(machine, MachineState.Started);
        Assert.Equal(failed.InstanceId, resumed.InstanceId);
    }

    [Fact]
    public async Task A_start_takes_back_a_suspension_that_is_under_way()
    {
        var machine = await RunningAsync(Spec());
        var saving = Hold(nameof(IVmm.SnapshotAsync));
        await _host.PutAsync(machine, 2, DesiredState.Suspended, Spec());
        await saving.ReachedAsync();
        await _host.PutAsync(machine, 3, DesiredState.Started, Spec());
        saving.Release();
        await _host.UntilAsync(machine, status => status is { State: MachineState.Started, ObservedGeneration: 3 });
        await LogsAsync(machine, "one\ntwo\n");
    }

    [Fact]
    public async Task A_stop_overtakes_a_suspension_that_is_under_way()
    {
        var machine = await RunningAsync(Spec());
        var saving = Hold(nameof(IVmm.SnapshotAsync));
        await _host.PutAsync(machine, 2, DesiredState.Suspended, Spec());
        await saving.ReachedAsync();
        await _host.PutAsync(machine, 3, DesiredState.Stopped, Spec());
        saving.Release();
        var status = await _host.UntilAsync(machine, MachineState.Stopped);
        Assert.True(status.Exit is null or { Requested: true });
        Assert.Empty(_host.Driver.Vms);
    }

    [Fact]
    public async Task An_exit_about_when_a_suspension_begins_is_not_lost_whichever_is_first()
    {
        var machine = await RunningAsync(AgentFixture.Spec("sh", "-c", "print one; sleep 0.05; exit 3"));
        await _host.PutAsync(machine, 2, DesiredState.Suspended, AgentFixture.Spec("sh", "-c", "print one; sleep 0.05; exit 3"));
        var status = await _host.UntilAsync(machine, s => s.State is MachineState.Stopped or MachineState.Suspended);
        if (status.State == MachineState.Suspended)
            await _host.PutAsync(machine, 3, DesiredState.Started, AgentFixture.Spec("sh", "-c", "print one; sleep 0.05; exit 3"));
        Assert.Equal(3, (await _host.UntilAsync(machine, MachineState.Stopped)).Exit.Code);
    }

    [Fact]
    public async Task A_machine_that_is_wanted_suspended_while_it_starts_is_suspended_when_it_runs()
    {
        var machine = MachineId.New();
        var launching = Hold(nameof(IVmmDriver.LaunchAsync));
        await _host.PutAsync(machine, 1, DesiredState.Started, Spec());
        await launching.ReachedAsync();
        await _host.PutAsync(machine, 2, DesiredState.Suspended, Spec());
        launching.Release();
        await _host.UntilAsync(machine, MachineState.Suspended);
    }

    [Fact]
    public async Task A_machine_that_resumes_when_the_node_goes_down_resumes_when_it_is_up()
    {
        var machine = await SuspendedAsync();
        _host.Driver.Faults = _ => new FakeVmmFaults { LaunchHangs = true };
        await _host.PutAsync(machine, 3, DesiredState.Started, Spec());
        await _host.UntilAsync(machine, MachineState.Starting);
        await _host.Agent.Machines.StopAllAsync(TimeSpan.FromSeconds(1), CancellationToken.None);
        Assert.Equal(MachineState.Starting, _host.Status(machine)!.State);
        _host.Driver.Faults = _ => new FakeVmmFaults();
        await _host.KillAndRestartAsync();
        await _host.UntilAsync(machine, MachineState.Started);
        await LogsAsync(machine, "one\ntwo\n");
    }

    private EffectHold Hold(string effect) => _host.Crash.Hold = new EffectHold(effect);

    private static MachineSpec Spec() => AgentFixture.Spec("sh", "-c", Job);

    private async Task<MachineId> RunningAsync(MachineSpec spec)
    {
        var machine = await _host.RunAsync(spec);
        await LogsAsync(machine, "one\n");
        return machine;
    }

    private async Task<MachineId> SuspendedAsync(MachineSpec? spec = null)
    {
        var machine = await RunningAsync(spec ?? Spec());
        await _host.PutAsync(machine, 2, DesiredState.Suspended, spec ?? Spec());
        await _host.UntilAsync(machine, MachineState.Suspended);
        return machine;
    }

    /// <summary>Reads until the log begins so, which it does in the end.</summary>
    private async Task LogsAsync(MachineId machine, string expected)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var sink = new CollectingWriter<LogEntry>();
        var reading = _host.Service.ReadLogs(
            new ReadLogsRequest { MachineId = machine.Value, Follow = true }, sink, FakeCall.Context(deadline.Token));
        var text = "";
        while (text.Length < expected.Length)
        {
            var line = await sink.Stream.ReadAsync(deadline.Token);
            if (line.Stream == "stdout")
                text += line.Data.ToStringUtf8();
        }
        Assert.Equal(expected, text);
        await deadline.CancelAsync();
        _host.Abandon(reading);
    }
}
