using CsCheck;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Machines;

namespace Ravel.Unit.ControlPlane;

public sealed class MachineLifecycleTests
{
    private static readonly MachineIntent Started = new(DesiredState.Started, 3);
    private static readonly MachineIntent Stopped = new(DesiredState.Stopped, 3);
    private static readonly MachineIntent Destroyed = new(DesiredState.Destroyed, 3);

    [Theory]
    [InlineData(1, null, 0, 0, MachineStates.Starting)]
    [InlineData(1, MachineStates.Stopped, 2, 0, MachineStates.Starting)]
    [InlineData(1, MachineStates.Started, 3, 0, MachineStates.Started)]
    [InlineData(1, MachineStates.Stopped, 3, 0, MachineStates.Stopped)]
    [InlineData(1, MachineStates.Stopped, 2, 3, MachineStates.Failed)]
    [InlineData(1, MachineStates.Destroyed, 3, 0, MachineStates.Destroyed)]
    [InlineData(2, null, 0, 0, MachineStates.Created)]
    [InlineData(2, MachineStates.Started, 2, 0, MachineStates.Stopping)]
    [InlineData(2, MachineStates.Starting, 2, 0, MachineStates.Stopping)]
    [InlineData(2, MachineStates.Failed, 2, 0, MachineStates.Failed)]
    [InlineData(2, MachineStates.Stopping, 3, 0, MachineStates.Stopping)]
    [InlineData(3, MachineStates.Started, 2, 0, MachineStates.Destroying)]
    [InlineData(3, MachineStates.Started, 2, 3, MachineStates.Destroying)]
    [InlineData(3, MachineStates.Destroyed, 2, 0, MachineStates.Destroyed)]
    public void A_user_sees_the_newest_intent_until_the_node_has_acted_on_it(
        int desired, string? state, long observed, long refused, string expected) =>
        Assert.Equal(
            expected,
            MachineLifecycle.SeenState(
                new MachineIntent((DesiredState)desired, 3),
                new MachineSighting(state, ObservedGeneration: observed, RefusedGeneration: refused)));

    [Fact]
    public void Start_of_a_started_machine_changes_nothing() =>
        Assert.Equal(Started, MachineLifecycle.Start(Started, At(MachineStates.Started)).Intent);

    [Fact]
    public void Start_of_a_machine_whose_workload_has_ended_is_a_new_generation() =>
        Assert.Equal(Started with { Generation = 4 }, MachineLifecycle.Start(Started, At(MachineStates.Stopped)).Intent);

    [Fact]
    public void Start_while_stopping_happens_once_it_has_stopped()
    {
        var intent = MachineLifecycle.Start(Stopped, At(MachineStates.Stopping)).Intent!;
        Assert.Equal(Stopped with { StartAfterStop = true }, intent);
        Assert.Equal(intent, MachineLifecycle.Follow(intent, At(MachineStates.Stopping), autoDestroy: false, atRestAt: 0));
        Assert.Equal(Started with { Generation = 4 }, MachineLifecycle.Follow(intent, At(MachineStates.Stopped), autoDestroy: false, atRestAt: 0));
    }

    [Fact]
    public void A_stop_takes_back_a_start_that_was_to_follow() =>
        Assert.Equal(Stopped, MachineLifecycle.Stop(Stopped with { StartAfterStop = true }, At(MachineStates.Stopping), null, null).Intent);

    [Fact]
    public void Stop_of_a_failed_machine_that_shall_run_tells_the_node_so_that_no_policy_restarts_it() =>
        Assert.Equal(Stopped with { Generation = 4 }, MachineLifecycle.Stop(Started, At(MachineStates.Failed), null, null).Intent);

    [Fact]
    public void A_start_of_a_machine_that_stops_though_it_shall_run_changes_nothing() =>
        Assert.Equal(Started, MachineLifecycle.Start(Started, At(MachineStates.Stopping)).Intent);

    [Fact]
    public void A_restart_stops_first_even_when_the_node_says_at_once_that_it_is_at_rest()
    {
        var intent = MachineLifecycle.Restart(Started, At(MachineStates.Started), 2, 5).Intent!;
        Assert.Equal(new MachineIntent(DesiredState.Stopped, 4, StartAfterStop: true, StopSignal: 2, StopTimeoutSeconds: 5), intent);
        // The workload ended by itself between: the node has nothing to report for generation 4 but answers that it is at rest.
        Assert.Equal(Started with { Generation = 5 }, MachineLifecycle.Follow(intent, At(MachineStates.Started), autoDestroy: false, atRestAt: 4));
    }

    [Fact]
    public void Destroy_of_a_running_machine_needs_force()
    {
        Assert.NotNull(MachineLifecycle.Destroy(Started, At(MachineStates.Started), force: false).Refusal);
        Assert.NotNull(MachineLifecycle.Destroy(Stopped, At(MachineStates.Stopping), force: false).Refusal);
        Assert.True(MachineLifecycle.Destroy(Started, At(MachineStates.Started), force: true).Intent!.Force);
        Assert.Equal(Destroyed with { Generation = 4 }, MachineLifecycle.Destroy(Started, At(MachineStates.Stopped), force: false).Intent);
    }

    [Fact]
    public void Destroy_twice_is_one_destroy_unless_the_second_brings_force()
    {
        Assert.Equal(Destroyed, MachineLifecycle.Destroy(Destroyed, At(MachineStates.Stopping), force: false).Intent);
        var forced = MachineLifecycle.Destroy(Destroyed, At(MachineStates.Stopping), force: true).Intent!;
        Assert.Equal(Destroyed with { Generation = 4, Force = true }, forced);
        Assert.Equal(forced, MachineLifecycle.Destroy(forced, At(MachineStates.Stopping), force: true).Intent);
    }

    [Theory]
    [InlineData(MachineStates.Stopped, true)]
    [InlineData(MachineStates.Failed, true)]
    [InlineData(MachineStates.Started, false)]
    [InlineData(MachineStates.Starting, false)]
    public void A_machine_with_auto_destroy_ends_with_its_workload(string state, bool ends) =>
        Assert.Equal(
            ends ? DesiredState.Destroyed : DesiredState.Started,
            MachineLifecycle.Follow(Started, At(state), autoDestroy: true, atRestAt: 0).Desired);

    [Fact]
    public void A_machine_with_auto_destroy_that_restarts_is_not_over() =>
        Assert.Equal(
            DesiredState.Started,
            MachineLifecycle.Follow(Stopped with { StartAfterStop = true }, At(MachineStates.Stopped), autoDestroy: true, atRestAt: 0).Desired);

    [Fact]
    public void An_old_report_ends_nothing() =>
        Assert.Equal(
            Started,
            MachineLifecycle.Follow(Started, new MachineSighting(MachineStates.Stopped, ObservedGeneration: 2), autoDestroy: true, atRestAt: 0));

    private static readonly MachineIntent Suspended = new(DesiredState.Suspended, 3);

    /// <summary>Every state a user can see, and what each command does to a machine in it; "-" is a refusal, "=" leaves it as it is.</summary>
    [Theory]
    //          state                     start      stop       restart  suspend    destroy      forced
    [InlineData(MachineStates.Created, "started", "=", "started", "-", "destroyed", "destroyed")]
    [InlineData(MachineStates.Starting, "=", "stopped", "again", "-", "-", "destroyed")]
    [InlineData(MachineStates.Started, "=", "stopped", "again", "suspended", "-", "destroyed")]
    [InlineData(MachineStates.Suspending, "started", "stopped", "again", "=", "-", "destroyed")]
    [InlineData(MachineStates.Suspended, "started", "stopped", "again", "=", "destroyed", "destroyed")]
    [InlineData(MachineStates.Stopping, "later", "=", "later", "-", "-", "destroyed")]
    [InlineData(MachineStates.Stopped, "started", "=", "started", "-", "destroyed", "destroyed")]
    [InlineData(MachineStates.Failed, "started", "stopped", "started", "-", "destroyed", "destroyed")]
    [InlineData(MachineStates.Destroying, "-", "-", "-", "-", "=", "destroyed")]
    [InlineData(MachineStates.Destroyed, "-", "-", "-", "-", "=", "=")]
    public void Every_command_is_taken_or_refused_in_every_state(
        string state, string start, string stop, string restart, string suspend, string destroy, string forced)
    {
        var intent = state switch
        {
            MachineStates.Created or MachineStates.Stopping or MachineStates.Stopped => Stopped,
            MachineStates.Suspending or MachineStates.Suspended => Suspended,
            MachineStates.Destroying or MachineStates.Destroyed => Destroyed,
            _ => Started,
        };
        Assert.Equal(state, MachineLifecycle.SeenState(intent, At(state)));
        Assert.Equal(
            [start, stop, restart, suspend, destroy, forced],
            new[]
            {
                MachineLifecycle.Start(intent, At(state)),
                MachineLifecycle.Stop(intent, At(state), null, null),
                MachineLifecycle.Restart(intent, At(state), null, null),
                MachineLifecycle.Suspend(intent, At(state)),
                MachineLifecycle.Destroy(intent, At(state), force: false),
                MachineLifecycle.Destroy(intent, At(state), force: true),
            }.Select(verdict => Word(intent, verdict)));

        static string Word(MachineIntent before, Verdict verdict) => verdict.Intent switch
        {
            null => "-",
            var after when after == before => "=",
            { StartAfterStop: true } after => after.Generation == before.Generation ? "later" : "again",
            var after => after.Desired.ToString().ToLowerInvariant(),
        };
    }

    [Theory]
    [InlineData(MachineStates.Suspending, false, null)]
    [InlineData(MachineStates.Suspended, true, null)]
    [InlineData(MachineStates.Started, false, MachineStates.Started)]
    [InlineData(MachineStates.Stopped, false, MachineStates.Stopped)]
    public void A_wait_for_a_suspension_ends_when_it_cannot_come(string state, bool met, string? instead) =>
        Assert.Equal((met, instead), WaitCondition.Check(MachineStates.Suspended, Suspended, At(state)));

    [Fact]
    public void Whatever_happens_generations_do_not_fall_and_destroyed_is_for_ever()
    {
        string?[] states =
        [
            null, MachineStates.Created, MachineStates.Starting, MachineStates.Started, MachineStates.Stopping, MachineStates.Stopped,
            MachineStates.Failed, MachineStates.Suspending, MachineStates.Suspended,
        ];
        var step = Gen.Select(Gen.Int[0, 7], Gen.Int[0, states.Length - 1].Select(i => states[i]), Gen.Bool, Gen.Long[0, 3]);
        step.Array[1, 30].Sample(steps =>
        {
            var intent = new MachineIntent(DesiredState.Started, 1);
            foreach (var (command, state, flag, behind) in steps)
            {
                var seen = new MachineSighting(state, ObservedGeneration: Math.Max(0, intent.Generation - behind));
                var verdict = command switch
                {
                    0 => MachineLifecycle.Start(intent, seen),
                    1 => MachineLifecycle.Stop(intent, seen, null, null),
                    2 => MachineLifecycle.Restart(intent, seen, null, null),
                    3 => MachineLifecycle.Update(intent, seen, flag),
                    4 => MachineLifecycle.Destroy(intent, seen, flag),
                    5 => MachineLifecycle.Suspend(intent, seen),
                    _ => MachineLifecycle.Follow(intent, seen, flag, atRestAt: 0),
                };
                if ((verdict.Intent is null) == (verdict.Refusal is null))
                    return false;
                var next = verdict.Intent ?? intent;
                if (next.Generation < intent.Generation || next.Generation > intent.Generation + 1)
                    return false;
                if (intent.Desired == DesiredState.Destroyed && next.Desired != DesiredState.Destroyed)
                    return false;
                if (next.StartAfterStop && next.Desired != DesiredState.Stopped)
                    return false;
                // What the node must hear has a generation of its own.
                if (next.Desired != intent.Desired && next.Generation == intent.Generation)
                    return false;
                intent = next;
            }
            return true;
        });
    }

    [Theory]
    [InlineData(MachineStates.Started, MachineStates.Started, 3, true, null)]
    [InlineData(MachineStates.Started, MachineStates.Stopped, 3, true, null)]
    [InlineData(MachineStates.Started, MachineStates.Stopped, 2, false, null)]
    [InlineData(MachineStates.Started, MachineStates.Failed, 0, false, MachineStates.Failed)]
    [InlineData(MachineStates.Stopped, MachineStates.Failed, 0, false, MachineStates.Failed)]
    [InlineData(MachineStates.Stopped, MachineStates.Destroyed, 0, false, MachineStates.Destroyed)]
    [InlineData(MachineStates.Destroyed, MachineStates.Failed, 0, false, null)]
    [InlineData(WaitCondition.Settled, MachineStates.Failed, 0, true, null)]
    [InlineData(WaitCondition.Settled, MachineStates.Starting, 0, false, null)]
    public void A_wait_is_over_when_it_is_met_or_cannot_be_met(string wanted, string state, long startedAt, bool met, string? instead) =>
        Assert.Equal((met, instead), WaitCondition.Check(wanted, Started, At(state) with { StartedGeneration = startedAt }));

    private static MachineSighting At(string state) => new(state, ObservedGeneration: 3);
}
