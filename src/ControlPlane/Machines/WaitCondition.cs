using Ravel.Contracts.Api;

namespace Ravel.ControlPlane.Machines;

/// <summary>What <c>/wait</c> waits for, decided on what is known now. Pure.</summary>
internal static class WaitCondition
{
    /// <summary>Any state that stays until somebody does something.</summary>
    public const string Settled = "settled";

    public static bool IsKnown(string state) => state is MachineStates.Created or MachineStates.Started or MachineStates.Stopped or MachineStates.Suspended
        or MachineStates.Failed or MachineStates.Destroyed or Settled;

    /// <summary>
    /// Whether the wait is over. Waiting for <c>started</c> is over too when the newest start has run and ended already: a job of a
    /// millisecond is not missed.
    /// </summary>
    /// <returns>Met; or, when it can't be met any more, the state the machine is in instead; or neither.</returns>
    public static (bool Met, string? Instead) Check(string wanted, MachineIntent intent, MachineSighting seen)
    {
        var state = MachineLifecycle.SeenState(intent, seen);
        if (state == wanted)
            return (true, null);
        if (wanted == Settled)
            return (state == MachineStates.Started || state == MachineStates.Destroyed || MachineLifecycle.IsAtRest(state), null);
        if (wanted == MachineStates.Started && intent.Desired == DesiredState.Started && seen.StartedGeneration >= intent.Generation)
            return (true, null);
        if (wanted == MachineStates.Destroyed)
            return (false, null);
        // It ended before it could be saved, or could not be saved.
        if (wanted == MachineStates.Suspended && intent.Desired == DesiredState.Suspended && seen.ObservedGeneration >= intent.Generation
            && state is MachineStates.Started or MachineStates.Stopped)
        {
            return (false, state);
        }
        var isLost = state is MachineStates.Failed or MachineStates.Destroyed or MachineStates.Destroying;
        return (false, isLost ? state : null);
    }
}
