using Ravel.Agent.Instances;
using Ravel.Contracts.Node;

namespace Ravel.Unit.Agent.Instances;

public sealed class InstanceStatesTests
{
    [Fact]
    public void A_generation_starts_no_second_instance_without_a_restart_policy()
    {
        var ended = Settle(Records.In(InstanceState.Releasing, i => i with { Exit = Exit(1) }));
        Assert.Equal(InstanceState.Ended, ended.State);
        Assert.Equal(InstanceState.Ended, Decide(ended, new InstanceEvent.Tick()).Next!.State);
        Assert.False(Decide(ended, new InstanceEvent.NodeStarted()).IsChange);
    }

    [Theory]
    [InlineData(RestartPolicy.Types.Kind.No, 1, false)]
    [InlineData(RestartPolicy.Types.Kind.OnFailure, 0, false)]
    [InlineData(RestartPolicy.Types.Kind.OnFailure, 1, true)]
    [InlineData(RestartPolicy.Types.Kind.Always, 0, true)]
    [InlineData(RestartPolicy.Types.Kind.Always, 1, true)]
    public void The_restart_policy_decides_after_an_exit(RestartPolicy.Types.Kind kind, int code, bool restarts)
    {
        var machine = WithPolicy(Records.In(InstanceState.Releasing, i => i with { Exit = Exit(code) }), kind);
        Assert.Equal(restarts ? InstanceState.Waiting : InstanceState.Ended, Settle(machine).State);
    }

    [Fact]
    public void A_lost_VM_counts_as_a_failure() => Assert.Equal(
        InstanceState.Waiting,
        Settle(WithPolicy(
            Records.In(InstanceState.Releasing, i => i with { Problem = new InstanceProblem("vmm-failed", "gone") }),
            RestartPolicy.Types.Kind.OnFailure)).State);

    [Theory]
    [InlineData("image-not-found")]
    [InlineData("image-invalid")]
    [InlineData("registry-unauthorized")]
    [InlineData("invalid-request")]
    public void What_only_a_person_can_mend_is_not_tried_again(string code)
    {
        var machine = Records.In(InstanceState.Releasing, i => i with { Problem = new InstanceProblem(code, "no") });
        Assert.Equal(InstanceState.Ended, Settle(WithPolicy(machine, RestartPolicy.Types.Kind.Always)).State);
    }

    [Fact]
    public void A_requested_stop_ends_it_whatever_the_policy()
    {
        var machine = WithPolicy(Records.In(InstanceState.Releasing, i => i with { Exit = Exit(1), IsStopRequested = true }), RestartPolicy.Types.Kind.Always);
        Assert.Equal(InstanceState.Ended, Settle(machine).State);
    }

    [Fact]
    public void Retries_are_counted_and_limited()
    {
        var machine = WithPolicy(Records.In(InstanceState.Releasing, i => i with { Exit = Exit(1) }), RestartPolicy.Types.Kind.OnFailure, max: 1);
        var waiting = Settle(machine);
        var again = Decide(waiting, new InstanceEvent.Tick(), Records.Late).Next!;
        Assert.Equal((InstanceState.Starting, 1u), (again.State, again.Restarts));
        var releasing = again with { Instance = again.Instance! with { State = InstanceState.Releasing, Exit = Exit(1) } };
        Assert.Equal(InstanceState.Ended, Settle(releasing).State);
    }

    [Fact]
    public void The_back_off_grows_with_short_lives_and_begins_anew_after_a_long_one()
    {
        var machine = WithPolicy(Records.In(InstanceState.Releasing, i => i with { Exit = Exit(1) }), RestartPolicy.Types.Kind.Always);
        var delays = new List<double>();
        for (var i = 0; i < 3; i++)
        {
            var waiting = Settle(machine);
            delays.Add((waiting.Instance!.Deadline!.Value - Records.Now).TotalSeconds);
            machine = machine with { ShortLives = waiting.ShortLives };
        }
        Assert.Equal([0.5, 1, 2], delays);

        var longLived = machine with { Instance = machine.Instance! with { StartedAt = Records.Now - TimeSpan.FromMinutes(5) } };
        Assert.Equal(TimeSpan.FromSeconds(0.5), Settle(longLived).Instance!.Deadline!.Value - Records.Now);
    }

    [Fact]
    public void A_newer_generation_resets_the_restarts()
    {
        var waiting = Records.In(InstanceState.Waiting) with { Restarts = 5, ShortLives = 5 };
        var next = Decide(waiting, Put(waiting, DesiredState.Started)).Next!;
        Assert.Equal((0u, 0, InstanceState.Starting), (next.Restarts, next.ShortLives, next.State));
    }

    [Fact]
    public void A_generation_is_observed_when_its_instance_begins_not_when_it_is_accepted()
    {
        var stopping = Records.In(InstanceState.Stopping);
        var accepted = Decide(stopping, Put(stopping, DesiredState.Started)).Next!;
        Assert.Equal((2UL, 1UL), (accepted.Generation, accepted.ObservedGeneration));
        var begun = Settle(accepted with { Instance = accepted.Instance! with { State = InstanceState.Releasing } });
        Assert.Equal((InstanceState.Starting, 2UL), (begun.State, begun.ObservedGeneration));
    }

    [Fact]
    public void The_same_specification_again_keeps_the_running_instance()
    {
        var running = Records.In(InstanceState.Running);
        var next = Decide(running, Put(running, DesiredState.Started)).Next!;
        Assert.Equal(running.Instance!.Id, next.Instance!.Id);
        Assert.Equal((2UL, 2UL), (next.ObservedGeneration, next.Instance.Generation));
    }

    [Fact]
    public void A_recorded_exit_is_not_replaced_by_how_the_VMM_ends()
    {
        var off = Records.In(InstanceState.PoweringOff, i => i with { Exit = Exit(3) });
        foreach (InstanceEvent e in (InstanceEvent[])[new InstanceEvent.VmmExited("gone"), new InstanceEvent.GuestBroken("bad"), new InstanceEvent.Tick()])
        {
            var instance = Decide(off, e, Records.Late).Next!.Instance!;
            Assert.Equal(3, instance.Exit!.Code);
            Assert.Null(instance.Problem);
        }
    }

    [Fact]
    public void A_stop_while_booting_asks_the_guest_and_leaves_no_exit_when_no_workload_began()
    {
        var booting = Records.In(InstanceState.Booting);
        var asked = Decide(booting, Put(booting, DesiredState.Stopped));
        Assert.Contains(InstanceEffect.AskStop, asked.Effects);
        foreach (InstanceEvent end in (InstanceEvent[])[new InstanceEvent.VmmExited("off"), new InstanceEvent.GuestBroken("bad"), new InstanceEvent.Tick()])
        {
            var released = Decide(asked.Next!, end, Records.Late);
            Assert.Equal((InstanceState.Releasing, null, null), (released.Next!.State, released.Next.Instance!.Exit, released.Next.Instance.Problem));
        }
    }

    [Fact]
    public void A_workload_that_began_before_the_stop_reached_it_leaves_its_exit()
    {
        var booting = Records.In(InstanceState.Booting);
        var asked = Decide(booting, Put(booting, DesiredState.Stopped)).Next!;
        var started = Decide(asked, new InstanceEvent.GuestStarted());
        Assert.Equal(["start"], started.Reports);
        Assert.Equal(143, Decide(started.Next!, new InstanceEvent.GuestExited(143, 15, false)).Next!.Instance!.Exit!.Code);
        Assert.Equal(137, Decide(started.Next!, new InstanceEvent.VmmExited("killed")).Next!.Instance!.Exit!.Code);
    }

    [Fact]
    public void An_instance_the_node_took_down_begins_again_when_the_node_is_up()
    {
        var running = Records.In(InstanceState.Running);
        var stopping = Decide(running, new InstanceEvent.NodeStopping(TimeSpan.FromSeconds(1))).Next!;
        Assert.True(stopping.Instance!.IsInterrupted);
        Assert.Equal(TimeSpan.FromSeconds(1) + Records.Options.StopGrace, stopping.Instance.Deadline - Records.Now);

        var released = stopping with { Instance = stopping.Instance with { State = InstanceState.Releasing } };
        var ended = InstanceStates.Decide(released, new InstanceEvent.StepUndone(null), Records.Context() with { IsNodeStopping = true }).Next!;
        Assert.Equal(InstanceState.Ended, ended.State);
        Assert.Equal(MachineState.Starting, StatusOf.Machine(ended).State);
        Assert.Equal(InstanceState.Starting, Decide(ended, new InstanceEvent.NodeStarted()).Next!.State);
        // Killed before it had stopped all: the next agent finishes the release and begins at once.
        Assert.Equal(InstanceState.Starting, Settle(released).State);
    }

    [Fact]
    public void An_instance_that_ended_by_itself_stays_ended_when_the_node_goes_down_and_up()
    {
        var off = Records.In(InstanceState.PoweringOff);
        var decision = Decide(off, new InstanceEvent.NodeStopping(TimeSpan.FromSeconds(1)));
        var after = Settle((decision.Next ?? off) with { Instance = (decision.Next ?? off).Instance! with { State = InstanceState.Releasing } });
        Assert.Equal(InstanceState.Ended, after.State);
        Assert.False(Decide(after, new InstanceEvent.NodeStarted()).IsChange);
    }

    [Fact]
    public void Nothing_comes_back_once_it_shall_be_destroyed()
    {
        var destroying = Records.In(InstanceState.Releasing) with { Desired = DesiredState.Destroyed };
        Assert.Equal("illegal-state", Decide(destroying, Put(destroying, DesiredState.Started)).Refusal!.Code);
        Assert.Equal(InstanceState.Destroying, Settle(destroying).State);
    }

    [Fact]
    public void What_a_machine_holds_follows_its_state()
    {
        Assert.Equal((0, 0L, 1), Share(Records.Without()));
        Assert.Equal((1, 64L, 1), Share(Records.In(InstanceState.Starting)));
        Assert.Equal((1, 64L, 1), Share(Records.In(InstanceState.Waiting)));
        Assert.Equal((0, 0L, 1), Share(Records.In(InstanceState.Ended)));
        // The greater of what runs and what replaces it.
        var larger = Records.OtherSpec.Clone();
        larger.Cpus = 4;
        Assert.Equal((4, 64L, 1), Share(Records.In(InstanceState.Stopping) with { Spec = larger }));

        static (int Cpus, long Memory, int Machines) Share(MachineRecord machine)
        {
            var share = machine.Held(besidesMib: 5);
            return (share.Cpus, share.MemoryMib, share.Machines);
        }
    }

    private static InstanceExit Exit(int code) => new(code, 0, false, Records.Now, false);

    private static MachineRecord Settle(MachineRecord machine) => Decide(machine, new InstanceEvent.StepUndone(null)).Next!;

    private static Decision Decide(MachineRecord machine, InstanceEvent e, DateTimeOffset? now = null)
    {
        var decision = InstanceStates.Decide(machine, e, Records.Context(now));
        return decision.IsChange || decision.Refusal is not null ? decision : decision with { Next = machine };
    }

    private static InstanceEvent.Put Put(MachineRecord machine, DesiredState desired) =>
        new(machine.Id, machine.Generation + 1, desired, machine.Spec, false);

    private static MachineRecord WithPolicy(MachineRecord machine, RestartPolicy.Types.Kind kind, uint max = 0)
    {
        var spec = machine.Spec.Clone();
        spec.Restart = new RestartPolicy { Kind = kind, MaxRetries = max };
        return machine with { Spec = spec };
    }
}
