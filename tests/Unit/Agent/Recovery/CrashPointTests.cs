using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;

namespace Ravel.Unit.Agent.Recovery;

/// <summary>
/// Kills the agent right after each of its commits, and before and after each of its effects on the host, in turn, starts another on the same host, says again what it was told (as a server
/// does), and looks for anything lost, doubled or left behind.
/// </summary>
public sealed class CrashPointTests
{
    private const int MostPoints = 200;

    [Fact]
    public Task While_a_machine_runs_to_its_end() => AtEveryPointAsync(
        async (host, machine) =>
        {
            await host.PutAsync(machine, 1, DesiredState.Started, AgentFixture.Spec("sh", "-c", "print one; print two; exit 7"));
            await host.UntilAsync(machine, MachineState.Stopped);
        },
        async (host, machine) =>
        {
            Assert.Equal(7, host.Status(machine)!.Exit.Code);
            var logs = await host.LogsAsync(machine);
            Assert.Equal("one\ntwo\n", string.Concat(logs.Select(line => line.Data.ToStringUtf8())));
            // Started for this generation once: whatever printed, printed in one instance.
            Assert.Single(logs.Select(line => line.InstanceId).Distinct());
        });

    [Fact]
    public Task While_a_machine_is_started_and_stopped() => AtEveryPointAsync(
        async (host, machine) =>
        {
            await host.PutAsync(machine, 1, DesiredState.Started);
            await host.UntilAsync(machine, status => status.State is MachineState.Started or MachineState.Stopped);
            await host.PutAsync(machine, 2, DesiredState.Stopped);
            await host.UntilAsync(machine, status => status is { State: MachineState.Stopped, Generation: 2 });
        },
        (host, machine) =>
        {
            Assert.True(host.Status(machine)!.Exit.Requested);
            return Task.CompletedTask;
        });

    [Fact]
    public Task While_a_machine_is_replaced_by_one_of_another_specification() => AtEveryPointAsync(
        async (host, machine) =>
        {
            await host.PutAsync(machine, 1, DesiredState.Started);
            await host.UntilAsync(machine, status => status.Generation > 1 || status.State == MachineState.Started);
            await host.PutAsync(machine, 2, DesiredState.Started, AgentFixture.Spec("sh", "-c", "print new; exit 0"));
            await host.UntilAsync(machine, status => status is { State: MachineState.Stopped, ObservedGeneration: 2 });
        },
        async (host, machine) =>
        {
            var logs = await host.LogsAsync(machine);
            Assert.Equal("new\n", string.Concat(logs.Select(line => line.Data.ToStringUtf8())));
        });

    [Fact]
    public Task While_a_machine_is_started_and_destroyed() => AtEveryPointAsync(
        async (host, machine) =>
        {
            await host.PutAsync(machine, 1, DesiredState.Started);
            await host.UntilAsync(machine, status => status.State is MachineState.Started or MachineState.Destroying or MachineState.Destroyed);
            await host.PutAsync(machine, 2, DesiredState.Destroyed);
            await host.UntilAsync(machine, MachineState.Destroyed);
        },
        (host, _) =>
        {
            Assert.Empty(Directory.EnumerateFiles(host.DiskDirectory));
            Assert.Equal(default, host.Agent.Machines.Ledger.Allocated(DateTimeOffset.UnixEpoch));
            return Task.CompletedTask;
        });

    [Fact]
    public Task While_a_start_fails() => AtEveryPointAsync(
        async (host, machine) =>
        {
            host.Network.TakenPorts.Add(80);
            var spec = AgentFixture.Spec();
            spec.Ports.Add(new PublishedPort { Protocol = "tcp", HostPort = 80, GuestPort = 80 });
            await host.PutAsync(machine, 1, DesiredState.Started, spec);
            await host.UntilAsync(machine, MachineState.Failed);
        },
        (host, machine) =>
        {
            Assert.Equal("port-taken", host.Status(machine)!.Problem.Code);
            return Task.CompletedTask;
        });

    [Fact]
    public Task While_a_machine_is_suspended_resumed_and_destroyed() => AtEveryPointAsync(
        async (host, machine) =>
        {
            await host.PutAsync(machine, 1, DesiredState.Started);
            await host.UntilAsync(machine, status => status.Generation > 1 || status.State is MachineState.Started or MachineState.Destroyed);
            await host.PutAsync(machine, 2, DesiredState.Suspended);
            await host.UntilAsync(machine, status => status.Generation > 2 || status.State is MachineState.Suspended or MachineState.Destroyed);
            await host.PutAsync(machine, 3, DesiredState.Started);
            await host.UntilAsync(machine, status => status.Generation > 3 || status.State is MachineState.Started or MachineState.Destroyed);
            await host.PutAsync(machine, 4, DesiredState.Destroyed, force: true);
            await host.UntilAsync(machine, MachineState.Destroyed);
        },
        (host, _) =>
        {
            Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(host.Options.DataDirectory, "agent", "memory")));
            Assert.Empty(Directory.EnumerateFiles(host.DiskDirectory));
            return Task.CompletedTask;
        });

    private static async Task AtEveryPointAsync(Func<AgentFixture, MachineId, Task> story, Func<AgentFixture, MachineId, Task> check)
    {
        for (var crashAt = 1; crashAt < MostPoints; crashAt++)
        {
            await using var host = new AgentFixture { CrashAtPoint = crashAt };
            var machine = MachineId.New();
            var crashed = host.Crashed;
            try
            {
                await host.StartAsync();
                crashed = host.Crashed;
                var telling = story(host, machine);
                await Task.WhenAny(telling, crashed);
                if (!crashed.IsCompleted)
                    await telling;
                else
                    host.Abandon(telling);
            }
            catch (SimulatedCrashException)
            {
                // Killed while it started, or while it answered.
            }

            var wasKilled = host.Crash.IsDead;
            await host.KillAndRestartAsync();
            await story(host, machine);
            await check(host, machine);
            await AssertNothingIsLeftAsync(host);
            if (!wasKilled)
            {
                TestContext.Current.TestOutputHelper?.WriteLine($"{crashAt - 1} crash points");
                return;
            }
        }
        Assert.Fail($"The story did not end within {MostPoints} points.");
    }

    private static Task AssertNothingIsLeftAsync(AgentFixture host)
    {
        Assert.Empty(host.Driver.Vms);
        Assert.Empty(host.Network.Attached);
        Assert.Equal(0, host.Images.LeasesOf(AgentFixture.Image));
        Assert.Empty(Directory.EnumerateDirectories(Path.Combine(host.RunDirectory, "vm")));
        Assert.Equal(0, host.Agent.Machines.Ledger.Allocated(DateTimeOffset.UnixEpoch).Cpus);
        return Task.CompletedTask;
    }
}
