using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Storage;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Events;

/// <summary>
/// Stores a node's events: each exactly once, with the node's sequence number in the transaction that changes the machine. An event
/// that can't be stored is logged and passed over: it must not hold up those behind it.
/// </summary>
internal sealed class EventIntake(
    Database database, MachineChanges changes, MachineReconciler reconciler, TimeProvider time, ILogger<EventIntake> log)
{
    /// <summary>Events kept of one machine; older ones go.</summary>
    private const int KeptEvents = 200;

    public async Task StoreAsync(string nodeId, IReadOnlyList<Rpc.NodeEvent> batch, CancellationToken cancellationToken)
    {
        if (batch.Count == 0)
            return;
        try
        {
            await StoreTogetherAsync(nodeId, batch, cancellationToken);
            return;
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            log.LogWarning(e, "A batch of {Count} events of node {Node} could not be stored; storing them one by one", batch.Count, nodeId);
        }

        foreach (var report in batch)
        {
            try
            {
                await StoreTogetherAsync(nodeId, [report], cancellationToken);
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested)
            {
                // If the database is at fault, this fails too, and the stream is taken up again at this event.
                await PassAsync(nodeId, (long)report.Sequence, cancellationToken);
                log.LogError(e, "Event {Sequence} of node {Node} could not be stored and is passed over", report.Sequence, nodeId);
            }
        }
    }

    private async Task StoreTogetherAsync(string nodeId, IReadOnlyList<Rpc.NodeEvent> batch, CancellationToken cancellationToken)
    {
        var changed = await database.WriteAsync(
            async db =>
            {
                var node = await db.Nodes.FirstAsync(n => n.Id == nodeId, cancellationToken);
                var fresh = batch.Where(e => (long)e.Sequence > node.LastSequence).OrderBy(e => e.Sequence).ToList();
                if (fresh.Count == 0)
                    return [];
                var ids = fresh.Select(e => e.Status?.MachineId ?? "").Distinct().ToList();
                var rows = await db.Machines.Where(m => ids.Contains(m.Id)).ToDictionaryAsync(m => m.Id, cancellationToken);
                var touched = new HashSet<string>();
                foreach (var report in fresh)
                {
                    node.LastSequence = (long)report.Sequence;
                    // A machine of another node reports through that node only: its old node has no say any more.
                    if (!rows.TryGetValue(report.Status?.MachineId ?? "", out var row) || row.NodeId != nodeId || (long)report.Status!.Generation < row.PlacedGeneration)
                        continue;
                    if (MachineReports.Take(row, report, time.GetUtcNow()) is { } entry)
                    {
                        db.MachineEvents.Add(entry);
                        touched.Add(row.Id);
                    }
                }
                await db.SaveChangesAsync(cancellationToken);
                foreach (var id in touched)
                    await PruneAsync(db, id, cancellationToken);
                return touched.ToList();
            },
            cancellationToken);
        foreach (var id in changed)
        {
            changes.Notify(id);
            reconciler.Signal(id);
        }
    }

    private Task PassAsync(string nodeId, long sequence, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                var node = await db.Nodes.FirstAsync(n => n.Id == nodeId, cancellationToken);
                node.LastSequence = Math.Max(node.LastSequence, sequence);
            },
            cancellationToken);

    /// <summary>Keeps a machine that restarts for ever from filling the database.</summary>
    private static async Task PruneAsync(ServerDbContext db, string machineId, CancellationToken cancellationToken)
    {
        var oldestKept = await db.MachineEvents
            .Where(e => e.MachineId == machineId)
            .OrderByDescending(e => e.Sequence)
            .Skip(KeptEvents)
            .Select(e => (long?)e.Sequence)
            .FirstOrDefaultAsync(cancellationToken);
        if (oldestKept is { } limit)
            await db.MachineEvents.Where(e => e.MachineId == machineId && e.Sequence <= limit).ExecuteDeleteAsync(cancellationToken);
    }
}
