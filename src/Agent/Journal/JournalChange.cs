using Ravel.Agent.Capacity;
using Ravel.Agent.Instances;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;

namespace Ravel.Agent.Journal;

/// <summary>What one transaction writes: all of it or nothing.</summary>
internal sealed record JournalChange
{
    /// <summary>The machine's new record.</summary>
    public MachineRecord? Save { get; init; }

    /// <summary>A machine that is no more; remembered by its last status.</summary>
    public MachineStatus? Forget { get; init; }

    /// <summary>A machine that had moved away and is here again: it is not remembered as gone any more.</summary>
    public MachineId? Recall { get; init; }

    /// <summary>Events for the server; the journal gives the sequence numbers.</summary>
    public IReadOnlyList<NodeEvent> Events { get; init; } = [];

    public CapacityReservation? AddReservation { get; init; }

    public IReadOnlyList<string> RemoveReservations { get; init; } = [];
}

/// <summary>What a journal holds when it is opened.</summary>
internal sealed record JournalContents(
    IReadOnlyList<MachineRecord> Machines,
    IReadOnlyDictionary<string, int> Networks,
    IReadOnlyList<CapacityReservation> Reservations,
    IReadOnlyDictionary<MachineId, MachineStatus> Forgotten);
