using Ravel.Contracts.Api;

namespace Ravel.ControlPlane.Machines;

/// <summary>What a machine shall be. Every change that its node must hear of has a generation of its own.</summary>
internal sealed record MachineIntent(
    DesiredState Desired,
    long Generation,
    bool Force = false,
    bool StartAfterStop = false,
    int? StopSignal = null,
    int? StopTimeoutSeconds = null);

/// <summary>What was heard of a machine.</summary>
internal sealed record MachineSighting(
    string? State = null,
    long AcceptedGeneration = 0,
    long RefusedGeneration = 0,
    long ObservedGeneration = 0,
    long StartedGeneration = 0);

/// <summary>What a command comes to: a refusal, or the intent after it (the same one when there was nothing to do).</summary>
internal readonly record struct Verdict(MachineIntent? Intent, string? Refusal)
{
    public static implicit operator Verdict(MachineIntent intent) => new(intent, null);

    public static Verdict Refuse(string why) => new(null, why);
}

/// <summary>
/// The server's half of a machine's life: what users see, and which commands are legal when. Pure. The node's half (instances,
/// restarts by policy) is the agent's.
/// <code>
///            create ──► starting ──► started ──► stopping ──► stopped
///  skip_launch │            │  ▲         │            │           │
///              ▼            ▼  └── start ┼────────────┼───────────┤
///           created       failed ◄───────┘  (start while stopping: once it has stopped)
///
///           started ── suspend ──► suspending ──► suspended ── start ──► starting (from its memory)
///
///  destroy: from created, stopped, suspended, failed; with force from everywhere ──► destroying ──► destroyed
/// </code>
/// Invariants: a generation never falls; <c>Destroyed</c> is never left; <c>StartAfterStop</c> only with <c>Stopped</c>.
/// A restart is "stop, and start once stopped", both halves durable, so that it survives a crash between them.
/// </summary>
internal static class MachineLifecycle
{
    /// <summary>The state a user sees: one of <see cref="MachineStates"/>.</summary>
    public static string SeenState(MachineIntent intent, MachineSighting seen)
    {
        if (seen.State == MachineStates.Destroyed)
            return MachineStates.Destroyed;
        if (intent.Desired == DesiredState.Destroyed)
            return MachineStates.Destroying;
        if (seen.RefusedGeneration >= intent.Generation)
            return MachineStates.Failed;
        // The node has acted on the newest intent: what it reports is about that.
        if (seen.ObservedGeneration >= intent.Generation && seen.State is not null)
            return seen.State;
        if (intent.Desired == DesiredState.Started)
            return MachineStates.Starting;
        return seen.State switch
        {
            null => MachineStates.Created,
            MachineStates.Starting or MachineStates.Started when intent.Desired == DesiredState.Suspended => MachineStates.Suspending,
            MachineStates.Starting or MachineStates.Started => MachineStates.Stopping,
            _ => seen.State,
        };
    }

    /// <summary>A machine that is at rest needs no stopping before it is started or destroyed.</summary>
    public static bool IsAtRest(string state) =>
        state is MachineStates.Created or MachineStates.Stopped or MachineStates.Suspended or MachineStates.Failed;

    public static Verdict Start(MachineIntent intent, MachineSighting seen)
    {
        var state = SeenState(intent, seen);
        if (IsEnding(state))
            return Verdict.Refuse($"is {state} and can't be started");
        // One that is being suspended goes on, or comes back once it is: the node knows which.
        if (IsAtRest(state) || intent.Desired == DesiredState.Suspended)
            return StartNow(intent);
        // One that stops though it shall run (its node goes down) starts again without being told.
        return state == MachineStates.Stopping && intent.Desired == DesiredState.Stopped ? intent with { StartAfterStop = true } : intent;
    }

    public static Verdict Stop(MachineIntent intent, MachineSighting seen, int? signal, int? timeoutSeconds)
    {
        var state = SeenState(intent, seen);
        if (IsEnding(state))
            return Verdict.Refuse($"is {state} and can't be stopped");
        // At rest but meant to run: a restart policy could still bring it back, so the node must hear of it.
        if (intent.Desired is DesiredState.Started or DesiredState.Suspended)
            return StopNow(intent, signal, timeoutSeconds);
        return intent with { StartAfterStop = false };
    }

    public static Verdict Restart(MachineIntent intent, MachineSighting seen, int? signal, int? timeoutSeconds)
    {
        var state = SeenState(intent, seen);
        if (IsEnding(state))
            return Verdict.Refuse($"is {state} and can't be restarted");
        // A restart begins anew: it does not go on from memory.
        if (IsAtRest(state) && state != MachineStates.Suspended)
            return StartNow(intent);
        if (intent.Desired == DesiredState.Stopped)
            return intent with { StartAfterStop = true };
        return StopNow(intent, signal, timeoutSeconds) with { StartAfterStop = true };
    }

    /// <summary>Only what runs has memory to save.</summary>
    public static Verdict Suspend(MachineIntent intent, MachineSighting seen)
    {
        var state = SeenState(intent, seen);
        if (state is MachineStates.Suspending or MachineStates.Suspended)
            return intent;
        return state == MachineStates.Started
            ? new MachineIntent(DesiredState.Suspended, intent.Generation + 1)
            : Verdict.Refuse($"is {state} and can't be suspended; only a started machine can");
    }

    /// <summary>A suspension that the node refused is taken back.</summary>
    public static MachineIntent Resume(MachineIntent intent) => StartNow(intent);

    /// <summary>The spec changed: the machine must stop with the old one before it starts with the new one.</summary>
    public static Verdict Update(MachineIntent intent, MachineSighting seen, bool launch)
    {
        var state = SeenState(intent, seen);
        if (IsEnding(state))
            return Verdict.Refuse($"is {state} and can't be updated");
        if (IsAtRest(state))
            return launch ? StartNow(intent) : StopNow(intent, null, null);
        // A generation even when it is stopping already: the node must have the new spec before the start.
        return StopNow(intent, null, null) with { StartAfterStop = launch };
    }

    public static Verdict Destroy(MachineIntent intent, MachineSighting seen, bool force)
    {
        var state = SeenState(intent, seen);
        if (state == MachineStates.Destroyed || (state == MachineStates.Destroying && (intent.Force || !force)))
            return intent;
        if (!force && !IsAtRest(state) && state != MachineStates.Destroying)
            return Verdict.Refuse($"is {state}; stop it first, or destroy it with force=true");
        return new MachineIntent(DesiredState.Destroyed, intent.Generation + 1, Force: force);
    }

    /// <summary>It runs on another node from now on.</summary>
    public static MachineIntent StartElsewhere(MachineIntent intent) => StartNow(intent);

    /// <summary>It is another node's from now on, at rest as it is.</summary>
    public static MachineIntent Rebind(MachineIntent intent) => intent with { Generation = intent.Generation + 1 };

    /// <summary>Whether the workload can be reached (exec, signal).</summary>
    public static string? RefusalToReach(MachineIntent intent, MachineSighting seen)
    {
        var state = SeenState(intent, seen);
        return state == MachineStates.Started ? null : $"is {state}, not started";
    }

    /// <summary>What follows by itself from what was heard: the start after a stop, the end of a machine that destroys itself.</summary>
    /// <param name="intent">What it shall be.</param>
    /// <param name="seen">What was heard, the newest included.</param>
    /// <param name="autoDestroy">Of its configuration.</param>
    /// <param name="atRestAt">The generation at which its node said that it is at rest; 0 when it did not.</param>
    public static MachineIntent Follow(MachineIntent intent, MachineSighting seen, bool autoDestroy, long atRestAt)
    {
        if (seen.State == MachineStates.Destroyed || intent.Desired == DesiredState.Destroyed)
            return intent;
        var isOver = (seen.ObservedGeneration >= intent.Generation && seen.State is not null && IsAtRest(seen.State))
            || atRestAt >= intent.Generation;
        if (intent is { Desired: DesiredState.Stopped, StartAfterStop: true })
            return isOver ? StartNow(intent) : intent;
        // "Created" ends nothing; a machine that never ran is not over.
        var hasEnded = isOver && seen.State is MachineStates.Stopped or MachineStates.Failed;
        if (autoDestroy && (hasEnded || seen.RefusedGeneration >= intent.Generation))
            return new MachineIntent(DesiredState.Destroyed, intent.Generation + 1);
        return intent;
    }

    private static bool IsEnding(string state) => state is MachineStates.Destroying or MachineStates.Destroyed;

    private static MachineIntent StartNow(MachineIntent intent) => new(DesiredState.Started, intent.Generation + 1);

    private static MachineIntent StopNow(MachineIntent intent, int? signal, int? timeoutSeconds) =>
        new(DesiredState.Stopped, intent.Generation + 1, StopSignal: signal, StopTimeoutSeconds: timeoutSeconds);
}
