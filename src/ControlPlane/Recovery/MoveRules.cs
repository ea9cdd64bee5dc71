using Ravel.Contracts.Api;
using Ravel.ControlPlane.Machines;

namespace Ravel.ControlPlane.Recovery;

/// <summary>What becomes of a machine whose node is lost or is emptied.</summary>
internal enum MoveKind
{
    /// <summary>Nothing has to be done.</summary>
    Leave,

    /// <summary>It shall run, and may elsewhere.</summary>
    Start,

    /// <summary>It is at rest, and may be elsewhere.</summary>
    Rebind,

    /// <summary>It is to be destroyed, and nothing but its node's word is missing.</summary>
    Finish,

    /// <summary>It belongs where it is.</summary>
    Stay,
}

/// <param name="Kind">What.</param>
/// <param name="Why">For people, of <see cref="MoveKind.Stay"/>.</param>
internal readonly record struct MoveVerdict(MoveKind Kind, string Why = "");

/// <summary>Which machines may leave their node. Pure.</summary>
internal static class MoveRules
{
    public const string Reschedule = "reschedule";
    public const string StayThere = "stay";

    /// <summary>Why a machine belongs to its node; null: it does not.</summary>
    public static string? Bond(MachineRow row, MachineConfig config)
    {
        if (config.Mounts is { Count: > 0 })
            return "its volumes are there";
        if (config.Guest?.Kernel is not null)
            return "its kernel is there";
        if (row.Desired == DesiredState.Suspended || row.SeenState() == MachineStates.Suspended)
            return "its memory is saved there";
        return null;
    }

    /// <summary>A node that is lost: nobody can ask it.</summary>
    public static MoveVerdict OnLoss(MachineRow row, MachineConfig config)
    {
        if (row.Desired == DesiredState.Destroyed)
            return new MoveVerdict(MoveKind.Finish);
        if (!ShallRun(row))
            return new MoveVerdict(MoveKind.Leave);
        if (Bond(row, config) is { } bond)
            return new MoveVerdict(MoveKind.Stay, bond);
        return config.OnNodeLoss == StayThere ? new MoveVerdict(MoveKind.Stay, "its on_node_loss is stay") : new MoveVerdict(MoveKind.Start);
    }

    /// <summary>A node that is emptied and does what it is told.</summary>
    public static MoveVerdict OnDrain(MachineRow row, MachineConfig config)
    {
        if (row.Desired == DesiredState.Destroyed)
            return new MoveVerdict(MoveKind.Leave);
        if (Bond(row, config) is { } bond)
            return new MoveVerdict(MoveKind.Stay, bond);
        // On its way to rest it is moved when it is there.
        return ShallRun(row) ? new MoveVerdict(MoveKind.Start)
            : MachineLifecycle.IsAtRest(row.SeenState()) ? new MoveVerdict(MoveKind.Rebind)
            : new MoveVerdict(MoveKind.Stay, $"it is {row.SeenState()}");
    }

    /// <summary>It runs, or would if its node did what it was told: not one that has ended or failed for good.</summary>
    private static bool ShallRun(MachineRow row) =>
        (row.Desired == DesiredState.Started && !MachineLifecycle.IsAtRest(row.SeenState())) || row is { Desired: DesiredState.Stopped, StartAfterStop: true };
}
