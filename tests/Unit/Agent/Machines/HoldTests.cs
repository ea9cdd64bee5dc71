using Ravel.Agent.Instances;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;
using Ravel.Vmm.Fake;

namespace Ravel.Unit.Agent.Machines;

/// <summary>What an instance holds beside its VMM, the lease on its image and its volumes, is let go of on every way out and on none but those.</summary>
public sealed class HoldTests : IAsyncLifetime
{
    private readonly AgentFixture _host = new();
    private readonly VolumeId _volume;
    private readonly MachineId _machine = MachineId.New();

    public HoldTests() => _volume = _host.AddVolume();

    public async ValueTask InitializeAsync() => await _host.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_machine_that_ends_lets_go()
    {
        await SuspendAsync();
        AssertHeld();
        await _host.PutAsync(_machine, 3, DesiredState.Started, WithVolume());
        await _host.UntilAsync(_machine, MachineState.Started);
        AssertHeld();
        await _host.PutAsync(_machine, 4, DesiredState.Stopped, WithVolume());
        await _host.UntilAsync(_machine, MachineState.Stopped);
        AssertFree();
    }

    [Fact]
    public async Task A_suspended_machine_that_begins_anew_without_its_volume_lets_it_go()
    {
        await SuspendAsync();
        await _host.PutAsync(_machine, 3, DesiredState.Started, AgentFixture.Spec());
        await _host.UntilAsync(_machine, MachineState.Started);
        Assert.Null(_host.HolderOf(_volume));
        Assert.Equal(1, _host.Images.LeasesOf(AgentFixture.Image));
    }

    [Fact]
    public async Task A_machine_whose_memory_was_refused_and_that_is_told_to_be_another_lets_go_of_its_volume()
    {
        await SuspendAsync();
        _host.Driver.Faults = vm => vm.Restore is null ? new FakeVmmFaults() : new FakeVmmFaults { RestoreFailure = "unknown version" };
        _host.Network.DetachFailures = 1;
        await _host.PutAsync(_machine, 3, DesiredState.Started, WithVolume());
        // While the failed start is being undone.
        await _host.UntilAsync(_machine, _ => _host.Agent.Machines.Find(_machine)?.Record?.State == InstanceState.Releasing);
        await _host.PutAsync(_machine, 4, DesiredState.Started, AgentFixture.Spec());
        await _host.UntilAsync(_machine, status => status is { State: MachineState.Started, ObservedGeneration: 4 });
        Assert.Null(_host.HolderOf(_volume));
        Assert.Equal(1, _host.Images.LeasesOf(AgentFixture.Image));
    }

    [Fact]
    public async Task A_resume_that_failed_and_is_stopped_lets_go()
    {
        await SuspendAsync();
        _host.Driver.Faults = _ => new FakeVmmFaults { LaunchFailure = "no memory" };
        await _host.PutAsync(_machine, 3, DesiredState.Started, WithVolume());
        await _host.UntilAsync(_machine, MachineState.Failed);
        AssertHeld();
        await _host.PutAsync(_machine, 4, DesiredState.Stopped, WithVolume());
        await _host.UntilAsync(_machine, MachineState.Stopped);
        AssertFree();
    }

    [Fact]
    public async Task An_agent_that_finds_an_instance_on_its_way_out_lets_go_when_it_is_out()
    {
        await _host.PutAsync(_machine, 1, DesiredState.Started, WithVolume());
        await _host.UntilAsync(_machine, MachineState.Started);
        // It is killed when the network cannot be taken away yet: everything before that is undone.
        _host.Network.DetachFailures = int.MaxValue;
        await _host.PutAsync(_machine, 2, DesiredState.Stopped, WithVolume());
        await _host.UntilAsync(_machine, _ => _host.Agent.Machines.Find(_machine)?.Record is
            { Instance: { State: InstanceState.Releasing, Position.Step: StartWorkflow.Network } });
        _host.Network.DetachFailures = 0;
        await _host.KillAndRestartAsync();
        await _host.UntilAsync(_machine, MachineState.Stopped);
        AssertFree();
    }

    [Fact]
    public async Task A_machine_that_waits_for_its_restart_lets_go_and_one_that_is_destroyed_too()
    {
        _host.Instances = _host.Instances with { RestartBackoff = new Ravel.Durable.BackoffPolicy(TimeSpan.FromHours(1), 1, TimeSpan.FromHours(1)) };
        await _host.KillAndRestartAsync();
        var spec = WithVolume("exit", "1");
        spec.Restart = new RestartPolicy { Kind = RestartPolicy.Types.Kind.Always };
        await _host.PutAsync(_machine, 1, DesiredState.Started, spec);
        await _host.UntilAsync(_machine, _ => _host.Agent.Machines.Find(_machine)?.Record?.State == InstanceState.Waiting);
        AssertFree();

        var other = MachineId.New();
        await _host.PutAsync(other, 1, DesiredState.Started, WithVolume());
        await _host.UntilAsync(other, MachineState.Started);
        await _host.PutAsync(other, 2, DesiredState.Destroyed, force: true);
        await _host.UntilAsync(other, MachineState.Destroyed);
        AssertFree();
    }

    private async Task SuspendAsync()
    {
        await _host.PutAsync(_machine, 1, DesiredState.Started, WithVolume());
        await _host.UntilAsync(_machine, MachineState.Started);
        await _host.PutAsync(_machine, 2, DesiredState.Suspended, WithVolume());
        await _host.UntilAsync(_machine, MachineState.Suspended);
    }

    private MachineSpec WithVolume(params string[] command)
    {
        var spec = AgentFixture.Spec(command);
        spec.Mounts.Add(new VolumeMount { VolumeId = _volume.Value, Path = "/data" });
        return spec;
    }

    private void AssertHeld()
    {
        Assert.Equal(_machine, _host.HolderOf(_volume));
        Assert.Equal(1, _host.Images.LeasesOf(AgentFixture.Image));
    }

    private void AssertFree()
    {
        Assert.Null(_host.HolderOf(_volume));
        Assert.Equal(0, _host.Images.LeasesOf(AgentFixture.Image));
    }
}
