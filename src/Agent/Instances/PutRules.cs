using Ravel.Agent.Limits;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;

namespace Ravel.Agent.Instances;

/// <summary>What a newer statement of the server does to a machine in each state.</summary>
internal static class PutRules
{
    public static Decision Decide(MachineRecord? machine, InstanceEvent.Put put, DecisionContext context)
    {
        if (machine is null)
            return Create(put, context);
        if (put.Generation <= machine.Generation)
            return InstanceStates.Nothing(machine);
        if (machine.Desired == DesiredState.Destroyed && put.Desired != DesiredState.Destroyed)
        {
            return InstanceStates.Nothing(machine) with
            {
                Refusal = new InstanceProblem(ProblemCodes.IllegalState, $"Machine {machine.Id} is being destroyed; create another one."),
            };
        }

        var next = machine with
        {
            Generation = put.Generation,
            Desired = put.Desired,
            Spec = put.Desired == DesiredState.Destroyed ? machine.Spec : put.Spec,
            Force = put.Force,
            IsMoved = put.IsMoved,
            Restarts = 0,
            ShortLives = 0,
            ChangedAt = context.Now,
        };
        return put.Desired switch
        {
            DesiredState.Started => OnStarted(next, context),
            DesiredState.Stopped => OnStopped(next, context),
            DesiredState.Suspended => SuspendRules.OnWanted(next, context),
            _ => OnDestroyed(next, context),
        };
    }

    private static Decision Create(InstanceEvent.Put put, DecisionContext context)
    {
        var machine = new MachineRecord
        {
            Id = put.Machine,
            Generation = put.Generation,
            Desired = put.Desired,
            Spec = put.Spec,
            Force = put.Force,
            IsMoved = put.IsMoved,
            AddressIndex = context.AddressIndex,
            NetworkIndex = context.NetworkIndex,
            ChangedAt = context.Now,
            ObservedGeneration = put.Generation,
        };
        return put.Desired switch
        {
            DesiredState.Started => InstanceStates.Begin(machine, context),
            DesiredState.Stopped or DesiredState.Suspended => new Decision(machine, [], ["create"]),
            // Remembered, so that an older command that comes late finds it destroyed.
            _ => new Decision(null, [], []) { Forgotten = machine },
        };
    }

    private static Decision OnStarted(MachineRecord machine, DecisionContext context)
    {
        if (machine.Instance is not { State: not (InstanceState.Ended or InstanceState.Waiting) } instance)
            return InstanceStates.Begin(machine, context);
        if (instance.State == InstanceState.Suspended)
            return SuspendRules.CanGoOn(machine, instance) ? SuspendRules.GoOn(machine, instance, context) : InstanceStates.Begin(machine, context);
        // Runs again, or is replaced, when its memory has been saved.
        if (instance.State == InstanceState.Suspending)
            return new Decision(machine, [], ["update"]);

        var isLeaving = instance.IsStopRequested || instance.State is InstanceState.PoweringOff or InstanceState.Releasing;
        // One that leaves is followed by an instance of this generation when it has left (SettleRules).
        if (isLeaving)
            return new Decision(machine, [], ["update"]);
        if (instance.Spec.Equals(machine.Spec))
        {
            return new Decision(
                machine with { Instance = instance with { Generation = machine.Generation }, ObservedGeneration = machine.Generation },
                [],
                ["update"]);
        }
        return instance.State switch
        {
            InstanceState.Starting => InstanceStates.Change(
                machine, instance with { IsStopRequested = true }, context, [InstanceEffect.CancelStart], ["update"]),
            _ when MachineLimits.DifferInNothingElse(instance.Spec, machine.Spec) => new Decision(
                machine with
                {
                    Instance = instance with { Generation = machine.Generation, Spec = machine.Spec },
                    ObservedGeneration = machine.Generation,
                },
                [InstanceEffect.Limit],
                ["update"]),
            _ => InstanceStates.Stop(machine, instance, context),
        };
    }

    private static Decision OnStopped(MachineRecord machine, DecisionContext context)
    {
        machine = machine with { ObservedGeneration = machine.Generation };
        if (machine.Instance is not { } instance)
            return new Decision(machine, [], ["update"]);
        instance = instance with { IsInterrupted = false };
        machine = machine with { Instance = instance };
        return instance.State switch
        {
            InstanceState.Starting => InstanceStates.Change(
                machine, instance with { IsStopRequested = true }, context, [InstanceEffect.CancelStart], ["stopping"]),
            // Booting says only that the agent has not heard of the workload: it may have begun to write.
            InstanceState.Booting or InstanceState.Running when !machine.Force => InstanceStates.Stop(machine, instance, context),
            InstanceState.Booting or InstanceState.Running => InstanceStates.Kill(machine, instance with { IsStopRequested = true }, context),
            InstanceState.Suspending or InstanceState.Stopping when machine.Force =>
                InstanceStates.Kill(machine, instance with { IsStopRequested = true }, context),
            InstanceState.Suspended => InstanceStates.Change(
                machine, SuspendRules.WithoutMemory(instance) with { State = InstanceState.Ended, Problem = null }, context, [], ["stop"]),
            InstanceState.PoweringOff when machine.Force => InstanceStates.Release(machine, instance, context),
            InstanceState.Waiting => InstanceStates.Change(
                machine, instance with { State = InstanceState.Ended, Deadline = null }, context, [], ["stop"]),
            InstanceState.PoweringOff or InstanceState.Releasing => InstanceStates.Change(
                machine, instance with { IsStopRequested = true }, context, [], ["update"]),
            _ => new Decision(machine, [], ["update"]),
        };
    }

    private static Decision OnDestroyed(MachineRecord machine, DecisionContext context)
    {
        if (machine.Instance is null)
            return new Decision(null, [], ["destroy"]) { Forgotten = machine };
        return machine.State is InstanceState.Ended or InstanceState.Waiting or InstanceState.Suspended
            ? SettleRules.Settle(machine with { Instance = machine.Instance with { Deadline = null } }, context)
            : OnStopped(machine, context);
    }
}
