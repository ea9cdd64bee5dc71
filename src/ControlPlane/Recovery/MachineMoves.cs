using Microsoft.EntityFrameworkCore;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Recovery;

/// <summary>
/// Gives machines to other nodes. A move is one transaction: the machine's node, a generation of its own from which on the new node's word
/// counts, and the departure of the copy it leaves. It decides on the row it changes, so a machine is moved once however many try.
/// </summary>
internal sealed class MachineMoves(Database database, MachineChanges changes, MachineReconciler reconciler, TimeProvider time)
{
    /// <param name="seen">The machine as it was when this was decided; nothing happens when it is another by now.</param>
    /// <param name="to">Where it goes.</param>
    /// <param name="kind"><see cref="MoveKind.Start"/> or <see cref="MoveKind.Rebind"/>.</param>
    /// <param name="fromLost">Its node must still be lost.</param>
    /// <param name="event">The type of the event.</param>
    /// <param name="cancellationToken">Ends the wait before the commit.</param>
    /// <returns>Whether it was moved.</returns>
    public async Task<bool> MoveAsync(
        MachineRow seen, Allocation to, MoveKind kind, bool fromLost, string @event, CancellationToken cancellationToken)
    {
        var from = seen.NodeId;
        var isMoved = await database.WriteAsync(
            async db =>
            {
                if (fromLost && !await HoldLostAsync(db, from, cancellationToken))
                    return false;
                if (await FindAsync(db, seen, cancellationToken) is not { } row
                    || await db.Departures.AnyAsync(d => d.MachineId == row.Id && d.NodeId == to.NodeId, cancellationToken))
                    return false;
                var now = time.GetUtcNow();
                row.Take(kind == MoveKind.Start ? MachineLifecycle.StartElsewhere(row.Intent()) : MachineLifecycle.Rebind(row.Intent()), now);
                (row.NodeId, row.Region) = (to.NodeId, to.Region);
                row.PlacedGeneration = row.Generation;
                row.ReservationId = to.ReservationId.Length == 0 ? null : to.ReservationId;
                (row.ProblemCode, row.ProblemMessage) = (null, null);
                // At rest there is nothing to tell a node before it starts.
                if (kind == MoveKind.Rebind)
                    row.AcceptedGeneration = row.ObservedGeneration = row.Generation;
                await LeaveAsync(db, row, from, afterStart: kind == MoveKind.Start && !fromLost, now, cancellationToken);
                db.MachineEvents.Add(ByRavel(row, @event, now));
                return true;
            },
            cancellationToken);
        if (isMoved)
            Changed(seen.Id);
        return isMoved;
    }

    /// <summary>Ends a machine that was to be destroyed without its lost node's word; what is there goes when the node comes back.</summary>
    public async Task FinishAsync(MachineRow seen, CancellationToken cancellationToken)
    {
        var isDone = await database.WriteAsync(
            async db =>
            {
                if (!await HoldLostAsync(db, seen.NodeId, cancellationToken) || await FindAsync(db, seen, cancellationToken) is not { Desired: DesiredState.Destroyed } row)
                    return false;
                var now = time.GetUtcNow();
                MachineReports.End(row, now);
                await LeaveAsync(db, row, row.NodeId, afterStart: false, now, cancellationToken);
                db.MachineEvents.Add(ByRavel(row, "destroy", now));
                return true;
            },
            cancellationToken);
        if (isDone)
            Changed(seen.Id);
    }

    /// <summary>Says on a machine, once, what is the matter.</summary>
    public async Task ReportAsync(MachineRow seen, string code, string message, CancellationToken cancellationToken)
    {
        if (seen.ProblemCode == code && seen.ProblemMessage == message)
            return;
        var isNew = await database.WriteAsync(
            async db =>
            {
                if (await FindAsync(db, seen, cancellationToken) is not { } row || (row.ProblemCode == code && row.ProblemMessage == message))
                    return false;
                var isFirst = row.ProblemCode != code;
                (row.ProblemCode, row.ProblemMessage, row.UpdatedAt) = (code, message, time.GetUtcNow());
                if (isFirst)
                    db.MachineEvents.Add(ByRavel(row, code, time.GetUtcNow()));
                return isFirst;
            },
            cancellationToken);
        if (isNew)
            changes.Notify(seen.Id);
    }

    /// <summary>
    /// Keeps the node lost until this transaction ends: whoever takes it back changes the same row, and then sees what was done here.
    /// </summary>
    private static async Task<bool> HoldLostAsync(ServerDbContext db, string nodeId, CancellationToken cancellationToken) =>
        await db.Nodes.Where(n => n.Id == nodeId && n.LostAt != null)
            .ExecuteUpdateAsync(row => row.SetProperty(n => n.Epoch, n => n.Epoch), cancellationToken) == 1;

    private static Task<MachineRow?> FindAsync(ServerDbContext db, MachineRow seen, CancellationToken cancellationToken) =>
        db.Machines.FirstOrDefaultAsync(
            m => m.Id == seen.Id && m.NodeId == seen.NodeId && m.Generation == seen.Generation && m.DestroyedAt == null, cancellationToken);

    private static async Task LeaveAsync(
        ServerDbContext db, MachineRow row, string from, bool afterStart, DateTimeOffset now, CancellationToken cancellationToken)
    {
        var departure = await db.Departures.FirstOrDefaultAsync(d => d.NodeId == from && d.MachineId == row.Id, cancellationToken);
        if (departure is null)
        {
            db.Departures.Add(new DepartureRow { NodeId = from, MachineId = row.Id, Generation = row.Generation, AfterStart = afterStart, At = now });
            return;
        }
        departure.Generation = row.Generation;
        departure.AfterStart &= afterStart;
    }

    private static Events.MachineEventRow ByRavel(MachineRow row, string type, DateTimeOffset now)
    {
        var entry = MachineStore.ByUser(row, type, now);
        (entry.Source, entry.ProblemCode, entry.ProblemMessage) = ("ravel", row.ProblemCode, row.ProblemMessage);
        return entry;
    }

    private void Changed(string id)
    {
        reconciler.Signal(id);
        changes.Notify(id);
    }
}
