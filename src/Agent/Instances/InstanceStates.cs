using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable.Workflows;

namespace Ravel.Agent.Instances;

// One machine's instances on this node:
//
//                Put(started)
//   (no instance) ──────────► STARTING ── steps done ──► BOOTING ── guest started ──► RUNNING
//                             ▲      │                    │   │                       │  │  │
//                             │      │ failed, stopped    │   │ exited                │  │  │ stop, new spec
//                    deadline │      │                    │   ▼               exited  │  │  ▼
//                             │      │   forced, broken,  │  POWERING OFF ◄───────────┘  │ STOPPING
//                          WAITING   │   VMM gone, late   │   │  ▲                       │  │   │
//                             ▲      ▼                    ▼   │  └──── exited ───────────│──┘   │
//                restart by   │     RELEASING ◄───────────────┘ VMM gone, late           │      │
//                policy       └───────┤  ▲ ▲                                             │      │
//                                     │  │ └─────────────────── broken, VMM gone ────────┘      │
//                                     │  └───────────────────── late, forced, VMM gone ─────────┘
//              new generation ◄───────┤
//              (STARTING)             ├──► ENDED ── Put(started) ──► STARTING
//                                     │
//                                     └──► DESTROYING ── removed ──► (forgotten)
//
//   RUNNING ── suspend ──► SUSPENDING ── saved ──► RELEASING ──► SUSPENDED ── Put(started), same spec ──► STARTING, the same instance
//      ▲                       │
//      └── could not be saved ─┘     stop, a new spec and destroy drop the memory of one that is SUSPENDED
//
//   BOOTING ── stop, new spec ──► STOPPING: a guest that still waits for its configuration is powered off instead of
//   configured; one that has it is asked as any other.
//
// Invariants
//  1. A machine has at most one instance that is not ENDED.
//  2. A generation starts at most one instance; every further one is a restart by policy, or follows the node's own
//     going down (interrupted).
//  3. An older generation changes nothing; once DESTROYED is desired nothing else can be.
//  4. Before ENDED, WAITING or the next STARTING, everything an instance had is undone: RELEASING is the only way there.
//  5. A recorded exit is never replaced, and a problem never hides an exit.
//  6. Saved memory runs at most once: it is dropped by the commit that records the VMM which holds it, paused until then.
//  7. The state alone says what is to be done (Resume): a crash after the commit loses no effect.

/// <summary>The rules of an instance's life, without clock, ids or I/O.</summary>
internal static class InstanceStates
{
    /// <param name="machine">The committed record; null for a machine the agent does not know.</param>
    /// <param name="happened">The event.</param>
    /// <param name="context">What the outside adds.</param>
    public static Decision Decide(MachineRecord? machine, InstanceEvent happened, DecisionContext context)
    {
        if (happened is InstanceEvent.Put put)
            return PutRules.Decide(machine, put, context);
        if (machine?.Instance is not { } instance)
            return Nothing(machine);
        return happened switch
        {
            InstanceEvent.StepDone e => OnStepDone(machine, instance, e, context),
            InstanceEvent.StartFailed e => OnStartFailed(machine, instance, e, context),
            InstanceEvent.StepUndone e => OnStepUndone(machine, instance, e, context),
            InstanceEvent.Saved e => SuspendRules.OnSaved(machine, instance, e.Memory, context),
            InstanceEvent.SaveFailed => SuspendRules.OnSaveFailed(machine, instance, context),
            InstanceEvent.GuestStarted => OnGuestStarted(machine, instance, context),
            InstanceEvent.GuestFailed e => OnExit(
                machine,
                instance with { Problem = new InstanceProblem(ProblemCodes.GuestFailed, e.Message) },
                new InstanceExit(e.ExitCode, 0, false, context.Now, instance.IsStopRequested),
                context),
            InstanceEvent.GuestExited e => OnExit(
                machine,
                instance,
                new InstanceExit(e.ExitCode, e.Signal, e.IsOomKilled, context.Now, instance.IsStopRequested),
                context),
            InstanceEvent.GuestBroken e => OnGuestBroken(machine, instance, e, context),
            InstanceEvent.VmmExited e => OnVmmExited(machine, instance, e, context),
            InstanceEvent.Tick => OnTick(machine, instance, context),
            InstanceEvent.NodeStopping e => OnNodeStopping(machine, instance, e, context),
            InstanceEvent.NodeStarted when instance.IsInterrupted && machine.Desired == DesiredState.Started => instance.State switch
            {
                InstanceState.Ended => Begin(machine, context),
                InstanceState.Suspended => SuspendRules.GoOn(machine, instance, context),
                _ => Nothing(machine),
            },
            InstanceEvent.NodeStarted => Nothing(machine),
            InstanceEvent.Held => instance.State switch
            {
                InstanceState.Starting => Release(
                    machine, instance with { IsInterrupted = ComesBack(machine, instance), IsStopRequested = true }, context),
                InstanceState.Waiting => Change(
                    machine, instance with { IsInterrupted = true, State = InstanceState.Ended, Deadline = null }, context, [], ["waiting"]),
                _ => Nothing(machine),
            },
            InstanceEvent.HostRebooted => OnHostRebooted(machine, instance, context),
            InstanceEvent.Removed => instance.State == InstanceState.Destroying
                ? new Decision(null, [], ["destroy"]) { Forgotten = machine }
                : Nothing(machine),
            _ => throw new ArgumentOutOfRangeException(nameof(happened), happened, "An event without a rule."),
        };
    }

    /// <summary>What a machine in this state needs done when nothing of it is under way: after a crash, or a restart of the agent.</summary>
    public static IReadOnlyList<InstanceEffect> Resume(MachineRecord machine) => machine.State switch
    {
        InstanceState.Starting when machine.Instance!.IsStopRequested => [InstanceEffect.RunWorkflow, InstanceEffect.CancelStart],
        InstanceState.Starting or InstanceState.Releasing => [InstanceEffect.RunWorkflow],
        InstanceState.Booting or InstanceState.Running => [InstanceEffect.Attend],
        InstanceState.Suspending => [InstanceEffect.Save],
        InstanceState.Stopping => [InstanceEffect.Attend, InstanceEffect.AskStop],
        InstanceState.PoweringOff => [InstanceEffect.Attend, InstanceEffect.PowerOff],
        InstanceState.Destroying => [InstanceEffect.Remove],
        _ => [],
    };

    /// <summary>A new instance for the machine's newest generation.</summary>
    internal static Decision Begin(MachineRecord machine, DecisionContext context)
    {
        var isRestart = machine.Instance is { } last && last.Generation == machine.Generation;
        var instance = new InstanceRecord
        {
            Id = context.NewId(),
            State = InstanceState.Starting,
            Generation = machine.Generation,
            Spec = machine.Spec,
            Position = context.FirstStep,
        };
        return new Decision(
            machine with { Instance = instance, ObservedGeneration = machine.Generation, ChangedAt = context.Now },
            [InstanceEffect.RunWorkflow],
            [isRestart ? "restart" : "launch"]);
    }

    /// <summary>Ends the workload as it likes to be ended.</summary>
    internal static Decision Stop(MachineRecord machine, InstanceRecord instance, DecisionContext context, TimeSpan? limit = null)
    {
        // The newest statement says how to stop what an older one started.
        var timeout = machine.Spec.Stop?.Timeout?.ToTimeSpan() ?? context.Options.DefaultStopTimeout;
        if (timeout > limit)
            timeout = limit.Value;
        return Change(
            machine,
            instance with { State = InstanceState.Stopping, IsStopRequested = true, Deadline = context.Now + timeout + context.Options.StopGrace },
            context,
            [InstanceEffect.AskStop],
            ["stopping"]);
    }

    /// <summary>Takes everything down that the start made, beginning with the VMM.</summary>
    internal static Decision Release(MachineRecord machine, InstanceRecord instance, DecisionContext context, params IReadOnlyList<string> reports) =>
        Change(
            machine,
            instance with { State = InstanceState.Releasing, Position = context.LastStep, Deadline = null },
            context,
            [InstanceEffect.RunWorkflow],
            reports);

    /// <summary>Takes down an instance whose workload is not asked any more; one that never started leaves no exit.</summary>
    internal static Decision Kill(MachineRecord machine, InstanceRecord instance, DecisionContext context) => instance.StartedAt is null
        ? Release(machine, instance, context)
        : Release(machine, instance with { Exit = InstanceExit.Killed(context.Now) }, context, "exit");

    internal static Decision Nothing(MachineRecord? machine) => new(machine, [], []) { IsChange = false };

    internal static Decision Change(
        MachineRecord machine,
        InstanceRecord instance,
        DecisionContext context,
        IReadOnlyList<InstanceEffect> effects,
        IReadOnlyList<string> reports) =>
        new(machine with { Instance = instance, ChangedAt = context.Now }, effects, reports);

    private static Decision OnStepDone(MachineRecord machine, InstanceRecord instance, InstanceEvent.StepDone e, DecisionContext context)
    {
        if (instance.State != InstanceState.Starting)
            return Nothing(machine);
        machine = machine with { Disk = e.Facts.Disk ?? machine.Disk };
        instance = instance with { Facts = e.Facts, Position = e.Next };
        if (e.Next is not null)
            return Change(machine, instance, context, [], []);
        if (instance.IsStopRequested)
            return Release(machine, instance, context);
        return Change(
            machine,
            instance with { State = InstanceState.Booting, Deadline = context.Now + context.Options.BootTimeout },
            context,
            [InstanceEffect.Attend],
            []);
    }

    private static Decision OnStartFailed(MachineRecord machine, InstanceRecord instance, InstanceEvent.StartFailed e, DecisionContext context)
    {
        if (instance.State != InstanceState.Starting)
            return Nothing(machine);
        var (failed, reports) = SuspendRules.AfterFailedStart(instance, e);
        return Change(
            machine,
            failed with { State = InstanceState.Releasing, Position = e.Next },
            context,
            // The workflow goes on by itself: it has only turned around.
            [],
            reports);
    }

    private static Decision OnStepUndone(MachineRecord machine, InstanceRecord instance, InstanceEvent.StepUndone e, DecisionContext context)
    {
        if (instance.State != InstanceState.Releasing)
            return Nothing(machine);
        instance = instance with { Position = e.Next };
        return e.Next is not null
            ? Change(machine, instance, context, [], [])
            : SettleRules.Settle(machine with { Instance = instance }, context);
    }

    private static Decision OnGuestStarted(MachineRecord machine, InstanceRecord instance, DecisionContext context) =>
        instance.State switch
        {
            InstanceState.Booting =>
                SuspendRules.Started(machine, instance with { State = InstanceState.Running, StartedAt = context.Now, Deadline = null }, context),
            // It was configured before the stop reached it.
            InstanceState.Stopping when instance.StartedAt is null =>
                Change(machine, instance with { StartedAt = context.Now }, context, [], ["start"]),
            _ => Nothing(machine),
        };

    private static Decision OnExit(MachineRecord machine, InstanceRecord instance, InstanceExit exit, DecisionContext context) =>
        instance.State is InstanceState.Booting or InstanceState.Running or InstanceState.Suspending or InstanceState.Stopping
            ? Change(
                machine,
                instance with { State = InstanceState.PoweringOff, Exit = exit, Deadline = context.Now + context.Options.PowerOffTimeout },
                context,
                [InstanceEffect.PowerOff],
                ["exit"])
            : Nothing(machine);

    private static Decision OnGuestBroken(MachineRecord machine, InstanceRecord instance, InstanceEvent.GuestBroken e, DecisionContext context) =>
        instance.State switch
        {
            InstanceState.Booting or InstanceState.Running or InstanceState.Suspending => Release(
                machine,
                instance with { Problem = new InstanceProblem(ProblemCodes.GuestFailed, e.Message) },
                context),
            InstanceState.Stopping => Kill(machine, instance, context),
            InstanceState.PoweringOff => Release(machine, instance, context),
            _ => Nothing(machine),
        };

    private static Decision OnVmmExited(MachineRecord machine, InstanceRecord instance, InstanceEvent.VmmExited e, DecisionContext context) =>
        instance.State switch
        {
            InstanceState.Booting or InstanceState.Running or InstanceState.Suspending => Release(
                machine,
                instance with { Problem = new InstanceProblem(ProblemCodes.VmmFailed, $"The VM ended before its workload did: {e.Detail}") },
                context),
            InstanceState.Stopping => Kill(machine, instance, context),
            InstanceState.PoweringOff => Release(machine, instance, context),
            _ => Nothing(machine),
        };

    private static Decision OnTick(MachineRecord machine, InstanceRecord instance, DecisionContext context)
    {
        if (instance.Deadline is not { } deadline || context.Now < deadline)
            return Nothing(machine);
        return instance.State switch
        {
            InstanceState.Booting => Release(
                machine,
                instance with
                {
                    Problem = new InstanceProblem(
                        ProblemCodes.GuestFailed,
                        $"The guest did not start its workload within {context.Options.BootTimeout.TotalSeconds:0} s; its log has the end of the console."),
                },
                context),
            InstanceState.Stopping => Kill(machine, instance, context),
            InstanceState.PoweringOff => Release(machine, instance, context),
            InstanceState.Waiting => Begin(machine with { Restarts = machine.Restarts + 1 }, context),
            _ => Nothing(machine),
        };
    }

    private static Decision OnNodeStopping(
        MachineRecord machine, InstanceRecord instance, InstanceEvent.NodeStopping e, DecisionContext context)
    {
        if (instance.State is InstanceState.Ended or InstanceState.Suspended or InstanceState.Destroying)
            return Nothing(machine);
        var interrupted = instance with { IsInterrupted = instance.IsInterrupted || ComesBack(machine, instance) };
        return instance.State switch
        {
            InstanceState.Starting => Change(machine, interrupted with { IsStopRequested = true }, context, [InstanceEffect.CancelStart], []),
            InstanceState.Booting or InstanceState.Running => Stop(machine, interrupted, context, e.Limit),
            InstanceState.Waiting => Change(machine, interrupted with { State = InstanceState.Ended, Deadline = null }, context, [], ["waiting"]),
            _ => interrupted == instance ? Nothing(machine) : Change(machine, interrupted, context, [], []),
        };
    }

    private static Decision OnHostRebooted(MachineRecord machine, InstanceRecord instance, DecisionContext context) =>
        instance.State switch
        {
            InstanceState.Starting or InstanceState.Booting or InstanceState.Running or InstanceState.Stopping =>
                Release(machine, instance with { IsInterrupted = ComesBack(machine, instance), IsStopRequested = true }, context),
            InstanceState.PoweringOff => Release(machine, instance, context),
            InstanceState.Suspending when ComesBack(machine, instance) => Release(machine, instance with { IsInterrupted = true }, context),
            InstanceState.Suspending => Release(
                machine,
                instance with { Problem = new InstanceProblem(ProblemCodes.VmmFailed, "The host went down before the memory was saved; start the machine again.") },
                context),
            _ => Nothing(machine),
        };

    /// <summary>Whether a machine whose node goes down shall run again after: it shall run, and has not ended by itself.</summary>
    private static bool ComesBack(MachineRecord machine, InstanceRecord instance) =>
        machine.Desired == DesiredState.Started
        && (machine.Generation > instance.Generation
            || instance.State is not (InstanceState.PoweringOff or InstanceState.Releasing or InstanceState.Ended or InstanceState.Destroying));
}

/// <summary>What a decision needs from outside.</summary>
/// <param name="Now">The clock.</param>
/// <param name="NewId">Makes the id of a next instance.</param>
/// <param name="Options">Time limits.</param>
/// <param name="FirstStep">Where a start begins.</param>
/// <param name="LastStep">Where taking down begins.</param>
internal sealed record DecisionContext(
    DateTimeOffset Now,
    Func<InstanceId> NewId,
    InstanceOptions Options,
    WorkflowPosition FirstStep,
    WorkflowPosition LastStep)
{
    /// <summary>Indices for a machine that is new on this node.</summary>
    public int AddressIndex { get; init; }

    public int NetworkIndex { get; init; }

    /// <summary>The node is going down, or does not know yet whether the machine is its own: nothing new begins.</summary>
    public bool IsNodeStopping { get; init; }
}
