using Ravel.Contracts.Api;
using Ravel.Contracts.Node;

namespace Ravel.Agent.Instances;

/// <summary>What becomes of a machine none of whose instances holds anything: destroyed, started (again) or left at rest.</summary>
internal static class SettleRules
{
    public static Decision Settle(MachineRecord machine, DecisionContext context)
    {
        var instance = machine.Instance!;
        if (machine.Desired == DesiredState.Destroyed)
        {
            return InstanceStates.Change(
                machine with { ObservedGeneration = machine.Generation },
                SuspendRules.WithoutMemory(instance) with { State = InstanceState.Destroying },
                context,
                [InstanceEffect.Remove],
                []);
        }
        if (SuspendRules.Settle(machine, instance, context) is { } aside)
            return aside;
        instance = SuspendRules.WithoutMemory(instance);
        if (machine.Desired == DesiredState.Started && (machine.Generation > instance.Generation || instance.IsInterrupted))
        {
            if (!context.IsNodeStopping)
                return InstanceStates.Begin(machine, context);
            instance = instance with { IsInterrupted = true };
            return InstanceStates.Change(machine, instance with { State = InstanceState.Ended }, context, [], ["waiting"]);
        }
        if (ShallRestart(machine, instance))
        {
            var lives = LivedLong(instance, context) ? 1 : machine.ShortLives + 1;
            return InstanceStates.Change(
                machine with { ShortLives = lives },
                instance with { State = InstanceState.Waiting, Deadline = context.Now + context.Options.RestartBackoff.DelayAfter(lives) },
                context,
                [],
                [instance.Problem is null ? "waiting" : "fail"]);
        }
        return InstanceStates.Change(
            machine with { ObservedGeneration = machine.Desired == DesiredState.Started ? machine.ObservedGeneration : machine.Generation },
            instance with { State = InstanceState.Ended },
            context,
            [],
            [instance.Problem is null ? "stop" : "fail"]);
    }

    private static bool ShallRestart(MachineRecord machine, InstanceRecord instance)
    {
        if (machine.Desired != DesiredState.Started || instance.IsStopRequested || IsFinal(instance))
            return false;
        var policy = machine.Spec.Restart ?? new RestartPolicy();
        if (policy.MaxRetries > 0 && machine.Restarts >= policy.MaxRetries)
            return false;
        return policy.Kind switch
        {
            RestartPolicy.Types.Kind.Always => true,
            RestartPolicy.Types.Kind.OnFailure => instance.Exit is not { Code: 0 },
            _ => false,
        };
    }

    /// <summary>Another try would fail the same way until somebody changes something.</summary>
    private static bool IsFinal(InstanceRecord instance) => instance.Problem?.Code
        is ProblemCodes.InvalidRequest
        or ProblemCodes.ImageNotFound
        or ProblemCodes.ImageInvalid
        or ProblemCodes.RegistryUnauthorized;

    private static bool LivedLong(InstanceRecord instance, DecisionContext context) =>
        instance.StartedAt is { } started && (instance.Exit?.At ?? context.Now) - started >= context.Options.LongLife;
}
