using Ravel.Agent.Capacity;
using Ravel.Agent.Instances;
using Ravel.Agent.Journal;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable.Mailboxes;
using Ravel.Durable.Outboxes;
using MachineStatus = Ravel.Contracts.Node.MachineStatus;

namespace Ravel.Agent.Machines;

/// <summary>What every machine of a node shares.</summary>
internal sealed record NodeContext
{
    public required InstanceServices Services { get; init; }

    public required AgentJournal Journal { get; init; }

    public required Outbox<NodeEvent> Outbox { get; init; }

    public required CapacityLedger Ledger { get; init; }

    public required KeyedMailboxes<MachineId> Mailboxes { get; init; }

    /// <summary>Cancelled when the agent goes down; instances run on.</summary>
    public required CancellationToken Stopping { get; init; }

    /// <summary>Whether the node goes down with its instances.</summary>
    public required Func<bool> IsGoingDown { get; init; }

    /// <summary>Whether a server has said that what may move, and is here, is here alone.</summary>
    public required Func<bool> IsAdmitted { get; init; }

    /// <summary>Called after every commit.</summary>
    public required Action Changed { get; init; }

    /// <summary>Called when a machine is no more, with its last record and status.</summary>
    public required Action<MachineRecord, MachineStatus> Forget { get; init; }
}
