using Ravel.Agent.Limits;
using Ravel.Contracts.Node;
using Ravel.Vmm;

namespace Ravel.Agent.Instances;

/// <summary>How an instance is put aside with its memory, and goes on from there.</summary>
internal static class SuspendRules
{
    /// <summary>The report of a suspended machine that begins anew, because no VMM takes its memory.</summary>
    public const string MemoryLost = "memory-lost";

    /// <summary>The server wants the machine suspended.</summary>
    public static Decision OnWanted(MachineRecord machine, DecisionContext context)
    {
        machine = machine with { ObservedGeneration = machine.Generation };
        if (machine.Instance is not { } instance)
            return new Decision(machine, [], ["update"]);
        instance = instance with { IsInterrupted = false };
        machine = machine with { Instance = instance };
        return instance.State switch
        {
            InstanceState.Running => Begin(machine, instance, context),
            // It ended by itself meanwhile, and does not start again: there is nothing to save.
            InstanceState.Waiting => InstanceStates.Change(
                machine, instance with { State = InstanceState.Ended, Deadline = null }, context, [], ["stop"]),
            // One that is on its way up is suspended when it runs (Started); one on its way down stays down.
            _ => new Decision(machine, [], ["update"]),
        };
    }

    /// <summary>The workload runs: what was asked for meanwhile begins.</summary>
    public static Decision Started(MachineRecord machine, InstanceRecord instance, DecisionContext context)
    {
        if (machine.Desired != DesiredState.Suspended)
            return InstanceStates.Change(machine, instance, context, [], ["start"]);
        var decision = Begin(machine, instance, context);
        return decision with { Reports = ["start", .. decision.Reports] };
    }

    /// <summary>The memory is on the disk. If it is still wanted there, the rest is taken down; otherwise the guest goes on.</summary>
    public static Decision OnSaved(MachineRecord machine, InstanceRecord instance, VmSnapshot memory, DecisionContext context)
    {
        if (instance.State != InstanceState.Suspending)
            return InstanceStates.Nothing(machine);
        // A node that goes down has a use for it, too.
        return machine.Desired == DesiredState.Suspended || (instance.IsInterrupted && context.IsNodeStopping)
            ? InstanceStates.Release(machine, instance with { Facts = instance.Facts with { Memory = memory } }, context)
            : GoBack(machine, instance, context);
    }

    public static Decision OnSaveFailed(MachineRecord machine, InstanceRecord instance, DecisionContext context) =>
        instance.State == InstanceState.Suspending ? GoBack(machine, instance, context) : InstanceStates.Nothing(machine);

    /// <summary>Starts the instance that was put aside, from its memory.</summary>
    public static Decision GoOn(MachineRecord machine, InstanceRecord instance, DecisionContext context)
    {
        var next = instance with
        {
            State = InstanceState.Starting,
            Generation = machine.Generation,
            Spec = CanGoOn(machine, instance) ? machine.Spec : instance.Spec,
            Position = context.FirstStep,
            Facts = new StartFacts { ImageDigest = instance.Facts.ImageDigest, Command = instance.Facts.Command, Disk = instance.Facts.Disk, Memory = instance.Facts.Memory, Kernel = instance.Facts.Kernel },
            StartedAt = null,
            Deadline = null,
            IsStopRequested = false,
            IsInterrupted = false,
            Problem = null,
        };
        return InstanceStates.Change(
            machine with { ObservedGeneration = machine.Generation }, next, context, [InstanceEffect.RunWorkflow], ["resume"]);
    }

    /// <summary>What becomes of memory that is not needed now.</summary>
    /// <returns>Null when there is none that may be used again.</returns>
    public static Decision? Settle(MachineRecord machine, InstanceRecord instance, DecisionContext context)
    {
        if (instance.Facts.Memory is null)
            return null;
        var aside = instance with { State = InstanceState.Suspended, Deadline = null };
        if (machine.Desired == DesiredState.Suspended)
            return InstanceStates.Change(machine with { ObservedGeneration = machine.Generation }, aside, context, [], ["suspend"]);
        if (!CanGoOn(machine, instance))
            return null;
        // Not again by itself: the same would stand in the way.
        if (instance.Problem is not null && machine.Generation == instance.Generation)
            return InstanceStates.Change(machine, aside, context, [], ["fail"]);
        return context.IsNodeStopping
            ? InstanceStates.Change(machine, aside with { IsInterrupted = true }, context, [], ["waiting"])
            : GoOn(machine, instance, context);
    }

    /// <summary>Memory fits the specification it was saved under, and one with other limits.</summary>
    public static bool CanGoOn(MachineRecord machine, InstanceRecord instance) =>
        machine.Desired == DesiredState.Started && MachineLimits.DifferInNothingElse(instance.Spec, machine.Spec);

    public static InstanceRecord WithoutMemory(InstanceRecord instance) =>
        instance.Facts.Memory is null ? instance : instance with { Facts = instance.Facts with { Memory = null } };

    /// <summary>
    /// A VMM that does not take the memory will not take it the next time: the machine starts anew without it, as after a power cut, and
    /// an event says so. Whatever else failed leaves the memory for the next try.
    /// </summary>
    /// <returns>The instance that is taken down, and what is to be reported of it.</returns>
    public static (InstanceRecord Instance, IReadOnlyList<string> Reports) AfterFailedStart(InstanceRecord instance, InstanceEvent.StartFailed e)
    {
        instance = instance with { Facts = e.Facts, Problem = instance.IsStopRequested ? null : e.Problem };
        if (instance.Facts.Memory is null || !e.IsMemoryRefused)
            return (instance, []);
        instance = WithoutMemory(instance) with
        {
            IsInterrupted = instance.IsInterrupted || !instance.IsStopRequested,
            Problem = instance.Problem is { } problem
                ? problem with { Message = $"The machine begins anew, without its saved memory: {problem.Message}" }
                : null,
        };
        return (instance, [MemoryLost]);
    }

    private static Decision Begin(MachineRecord machine, InstanceRecord instance, DecisionContext context) =>
        InstanceStates.Change(
            machine with { ObservedGeneration = machine.Generation },
            instance with { State = InstanceState.Suspending, Generation = machine.Generation },
            context,
            [InstanceEffect.Save],
            ["suspending"]);

    /// <summary>The guest runs again, and what is wanted of it now is asked of it.</summary>
    private static Decision GoBack(MachineRecord machine, InstanceRecord instance, DecisionContext context)
    {
        instance = instance with { State = InstanceState.Running };
        var isWanted = machine.Desired == DesiredState.Suspended || CanGoOn(machine, instance);
        if (isWanted && !context.IsNodeStopping)
        {
            return InstanceStates.Change(
                machine with { ObservedGeneration = machine.Generation },
                instance with { Generation = machine.Generation, Spec = CanGoOn(machine, instance) ? machine.Spec : instance.Spec },
                context,
                [InstanceEffect.Attend],
                ["resume"]);
        }
        var decision = InstanceStates.Stop(machine, instance, context);
        return decision with { Effects = [InstanceEffect.Attend, .. decision.Effects] };
    }
}
