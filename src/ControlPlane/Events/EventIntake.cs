using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Events;

/// <summary>
/// Stores a node's events: each exactly once, with the node's sequence number in the transaction that changes the machine. An event
/// that can't be stored is logged and passed over: it must not hold up those behind it.
/// </summary>
internal sealed class EventIntake
{
    /// <summary>Events kept of one machine; older ones go.</summary>
    private const int KeptEvents = 200;

    /// <summary>Batches of nodes stored together.</summary>
    private const int Most = 256;

    private readonly Database _database;
    private readonly MachineChanges _changes;
    private readonly MachineReconciler _reconciler;
    private readonly Fleet _fleet;
    private readonly TimeProvider _time;
    private readonly ILogger<EventIntake> _log;
    private readonly Together<Batch, bool> _batches;

    public EventIntake(Database database, MachineChanges changes, MachineReconciler reconciler, Fleet fleet, TimeProvider time, ILogger<EventIntake> log)
    {
        (_database, _changes, _reconciler, _fleet, _time, _log) = (database, changes, reconciler, fleet, time, log);
        // One group at a time: while it is stored, the next one grows.
        _batches = new(StoreTogetherAsync, StoreAloneAsync, Most, atOnce: 1);
    }

    /// <summary>Events of a node in a row.</summary>
    private sealed record Batch(string NodeId, IReadOnlyList<Rpc.NodeEvent> Events);

    public Task StoreAsync(string nodeId, IReadOnlyList<Rpc.NodeEvent> batch, CancellationToken cancellationToken) =>
        batch.Count == 0 ? Task.CompletedTask : _batches.AskAsync(new Batch(nodeId, [.. batch])).WaitAsync(cancellationToken);

    private async Task<bool> StoreAloneAsync(Batch batch)
    {
        try
        {
            await StoreTogetherAsync([batch]);
            return true;
        }
        catch (Exception e)
        {
            _log.LogWarning(e, "A batch of {Count} events of node {Node} could not be stored; storing them one by one", batch.Events.Count, batch.NodeId);
        }

        foreach (var report in batch.Events)
        {
            try
            {
                await StoreTogetherAsync([new Batch(batch.NodeId, [report])]);
            }
            // The database's own trouble passes: the stream is taken up again at this event.
            catch (Exception e) when (e is not ProblemException { Code: ProblemCodes.DiskFull or ProblemCodes.DatabaseUnavailable })
            {
                await PassAsync(batch.NodeId, (long)report.Sequence, CancellationToken.None);
                _log.LogError(e, "Event {Sequence} of node {Node} could not be stored and is passed over", report.Sequence, batch.NodeId);
            }
        }
        return true;
    }

    private async Task<IReadOnlyList<bool>> StoreTogetherAsync(IReadOnlyList<Batch> batches)
    {
        var changed = await _database.WriteAsync(
            async db =>
            {
                var nodeIds = batches.Select(batch => batch.NodeId).Distinct().Order(StringComparer.Ordinal).ToArray();
                var nodes = await db.HoldNodes(nodeIds).ToDictionaryAsync(node => node.Id, StringComparer.Ordinal);
                // A node that was taken out: its watcher finds out, and the others do not wait for that.
                if (batches is [var only] && !nodes.ContainsKey(only.NodeId))
                    throw new InvalidOperationException($"Node {only.NodeId} is not in the database.");
                var fresh = batches
                    .Where(batch => nodes.ContainsKey(batch.NodeId))
                    .SelectMany(batch => batch.Events.Select(report => (Node: nodes[batch.NodeId], Report: report)))
                    .Where(e => (long)e.Report.Sequence > e.Node.LastSequence)
                    .OrderBy(e => e.Report.Sequence)
                    .ToList();
                if (fresh.Count == 0)
                    return [];
                var ids = fresh.Select(e => e.Report.Status?.MachineId ?? "").Distinct().Order(StringComparer.Ordinal).ToArray();
                var rows = await db.HoldMachines(ids).ToDictionaryAsync(m => m.Id, StringComparer.Ordinal);
                var touched = new Dictionary<string, MachineRow>(StringComparer.Ordinal);
                foreach (var (node, report) in fresh)
                {
                    node.LastSequence = (long)report.Sequence;
                    // A machine of another node reports through that node only: its old node has no say any more.
                    if (!rows.TryGetValue(report.Status?.MachineId ?? "", out var row) || row.NodeId != node.Id || (long)report.Status!.Generation < row.PlacedGeneration)
                        continue;
                    if (MachineReports.Take(row, report, _time.GetUtcNow()) is { } entry)
                    {
                        db.MachineEvents.Add(entry);
                        touched[row.Id] = row;
                    }
                }
                await db.SaveChangesAsync();
                await PruneAsync(db, [.. touched.Keys]);
                return touched.Values.ToList();
            },
            CancellationToken.None);
        foreach (var row in changed)
        {
            if (row.ObservedState == MachineStates.Destroyed)
                _fleet.Count(row.NodeId, row.AppId, -1);
            _changes.Notify(row.Id);
            if (MachineReconciler.MustPush(row))
                _reconciler.Signal(row.Id);
        }
        return [.. batches.Select(_ => true)];
    }

    private Task PassAsync(string nodeId, long sequence, CancellationToken cancellationToken) =>
        _database.WriteAsync(
            async db =>
            {
                var node = await db.Nodes.FirstAsync(n => n.Id == nodeId, cancellationToken);
                node.LastSequence = Math.Max(node.LastSequence, sequence);
            },
            cancellationToken);

    /// <summary>Keeps a machine that restarts for ever from filling the database.</summary>
    private static async Task PruneAsync(ServerDbContext db, string[] machineIds)
    {
        var full = await db.MachineEvents.Where(e => machineIds.Contains(e.MachineId))
            .GroupBy(e => e.MachineId).Where(g => g.Count() > KeptEvents).Select(g => g.Key).ToListAsync();
        foreach (var id in full)
        {
            var newestGone = await db.MachineEvents
                .Where(e => e.MachineId == id).OrderByDescending(e => e.Sequence).Skip(KeptEvents).Select(e => e.Sequence).FirstAsync();
            await db.MachineEvents.Where(e => e.MachineId == id && e.Sequence <= newestGone).ExecuteDeleteAsync();
        }
    }
}
