using Grpc.Core;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;

namespace Ravel.Unit.Agent.Recovery;

/// <summary>Machines that went elsewhere while their node was away.</summary>
public sealed class FencingTests
{
    [Fact]
    public async Task A_copy_of_a_machine_that_moved_ends_and_the_machine_may_come_back()
    {
        await using var host = await new AgentFixture().StartAsync();
        var machine = await host.RunAsync();
        await host.PutAsync(machine, 2, DesiredState.Destroyed, force: true, moved: true);
        Assert.True((await host.UntilAsync(machine, MachineState.Destroyed)).Moved);
        Assert.Empty(host.Driver.Vms);
        await host.KillAndRestartAsync();
        await host.PutAsync(machine, 3, DesiredState.Started);
        await host.UntilAsync(machine, MachineState.Started);
        await host.KillAndRestartAsync();
        Assert.Equal(3UL, (await host.UntilAsync(machine, MachineState.Started)).Generation);
        Assert.Single(host.Driver.Vms);
    }

    [Fact]
    public async Task A_command_from_before_a_move_that_comes_late_starts_nothing()
    {
        await using var host = await new AgentFixture().StartAsync();
        var never = MachineId.New();
        await host.PutAsync(never, 2, DesiredState.Destroyed, moved: true);
        Assert.Equal(MachineState.Destroyed, (await host.PutAsync(never, 1, DesiredState.Started)).State);

        // It was to come back, the command is on its way, and it goes elsewhere again.
        await host.PutAsync(never, 4, DesiredState.Destroyed, moved: true);
        await host.KillAndRestartAsync();
        Assert.Equal(MachineState.Destroyed, (await host.PutAsync(never, 3, DesiredState.Started)).State);
        Assert.Empty(host.Driver.Vms);
    }

    [Fact]
    public async Task A_machine_that_was_destroyed_after_it_had_moved_away_does_not_come_back()
    {
        await using var host = await new AgentFixture().StartAsync();
        var machine = await host.RunAsync();
        await host.PutAsync(machine, 2, DesiredState.Destroyed, force: true, moved: true);
        await host.UntilAsync(machine, MachineState.Destroyed);
        await host.PutAsync(machine, 3, DesiredState.Destroyed);
        await Assert.ThrowsAsync<RpcException>(() => host.PutAsync(machine, 4, DesiredState.Started));
    }

    [Fact]
    public async Task A_host_that_was_off_starts_nothing_that_may_run_elsewhere_before_a_server_says_so()
    {
        await using var host = new AgentFixture { WaitsForAdmission = true };
        var volume = host.AddVolume();
        await host.StartAsync();
        var movable = await host.RunAsync();
        var staying = AgentFixture.Spec();
        staying.Stays = true;
        var stays = await host.RunAsync(staying);
        var withVolume = AgentFixture.Spec();
        withVolume.Mounts.Add(new VolumeMount { VolumeId = volume.Value, Path = "/data" });
        var mounted = await host.RunAsync(withVolume);

        await host.RebootAsync();
        await host.UntilAsync(stays, MachineState.Started);
        await host.UntilAsync(mounted, MachineState.Started);
        await host.UntilAsync(movable, status => status.State == MachineState.Starting && host.Agent.Machines.Find(movable)!.IsAtRest);
        Assert.Equal(2, host.Driver.Vms.Count);

        await host.Service.Admit(new AdmitRequest(), FakeCall.Context());
        await host.UntilAsync(movable, MachineState.Started);
    }

    [Fact]
    public async Task What_runs_when_an_agent_returns_runs_on_until_a_server_says_that_it_is_elsewhere()
    {
        await using var host = await new AgentFixture { WaitsForAdmission = true }.StartAsync();
        var mine = await host.RunAsync();
        var stale = await host.RunAsync();
        await host.KillAndRestartAsync();
        await host.UntilAsync(mine, MachineState.Started);
        await host.PutAsync(stale, 2, DesiredState.Destroyed, force: true, moved: true);
        await host.UntilAsync(stale, MachineState.Destroyed);
        await host.Service.Admit(new AdmitRequest { Epoch = 1 }, FakeCall.Context());
        Assert.Equal([host.Status(mine)!.InstanceId], host.Driver.Vms.Keys);
    }

    [Fact]
    public async Task A_copy_whose_start_was_cut_off_can_be_ended_before_the_node_is_taken_back()
    {
        await using var host = await new AgentFixture { WaitsForAdmission = true, CrashAtPoint = 4 }.StartAsync();
        var machine = MachineId.New();
        host.Abandon(host.PutAsync(machine, 1, DesiredState.Started));
        await host.Crashed;
        await host.KillAndRestartAsync();
        await host.PutAsync(machine, 2, DesiredState.Destroyed, force: true, moved: true);
        await host.UntilAsync(machine, MachineState.Destroyed);
        Assert.Empty(host.Driver.Vms);
    }
}
