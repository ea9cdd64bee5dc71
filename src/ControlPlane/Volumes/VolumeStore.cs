using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.ControlPlane.Apps;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Volumes;

/// <summary>A volume, the name of its app, and the living machine that mounts it.</summary>
internal sealed record StoredVolume(VolumeRow Row, string App, string? Machine)
{
    public Volume Shown() => new()
    {
        Id = VolumeId.Parse(Row.Id),
        Name = Row.Name,
        App = App,
        State = Row switch
        {
            { IsDestroying: true } => VolumeStates.Destroying,
            { ConfirmedMib: 0 } => VolumeStates.Creating,
            _ when Row.ConfirmedMib < Row.SizeMib => VolumeStates.Extending,
            _ => VolumeStates.Created,
        },
        SizeGb = (Row.SizeMib + 1023) / 1024,
        SizeMb = Row.SizeMib,
        AttachedMachineId = Machine is null ? null : MachineId.Parse(Machine),
        SnapshotOf = Row is { IsSnapshot: true, SourceId: { } source } ? VolumeId.Parse(source) : null,
        CreatedAt = Row.CreatedAt,
    };
}

internal sealed class VolumeStore(Database database)
{
    /// <param name="tenant">The namespace.</param>
    /// <param name="app">Null: every app of it.</param>
    /// <param name="withSnapshots">Their snapshots, too, those of volumes that are gone among them.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public Task<List<StoredVolume>> ListAsync(string tenant, string? app, bool withSnapshots, CancellationToken cancellationToken) =>
        database.ReadAsync(
            async db =>
            {
                var rows = db.Volumes.Where(v => v.Namespace == tenant && (withSnapshots || !v.IsSnapshot));
                if (app is not null)
                {
                    var owner = await AppOf(db, tenant, app, cancellationToken);
                    rows = rows.Where(v => v.AppId == owner.Id);
                }
                return await Joined(db, rows).ToListAsync(cancellationToken);
            },
            cancellationToken);

    /// <summary>The snapshots of a volume, which may be gone: they outlive it.</summary>
    /// <exception cref="ProblemException">There is neither such a volume nor a snapshot of one.</exception>
    public Task<List<StoredVolume>> SnapshotsAsync(string tenant, string app, string id, CancellationToken cancellationToken) =>
        database.ReadAsync(
            async db =>
            {
                var owner = await AppOf(db, tenant, app, cancellationToken);
                var volume = await db.Volumes.FirstOrDefaultAsync(v => v.AppId == owner.Id && (v.Id == id || v.LiveName == id), cancellationToken);
                var source = volume?.Id ?? id;
                var found = await Joined(db, db.Volumes.Where(v => v.AppId == owner.Id && v.IsSnapshot && v.SourceId == source))
                    .ToListAsync(cancellationToken);
                return volume is null && found.Count == 0 ? throw NotFound(app, id) : found;
            },
            cancellationToken);

    public Task<StoredVolume> GetAsync(string tenant, string app, string id, CancellationToken cancellationToken) =>
        database.ReadAsync(db => FindAsync(db, tenant, app, id, cancellationToken), cancellationToken);

    public Task<StoredVolume> InsertAsync(string tenant, string app, VolumeRow row, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                row.AppId = (await AppOf(db, tenant, app, cancellationToken)).Id;
                if (row.LiveName is not null && await db.Volumes.AnyAsync(v => v.AppId == row.AppId && v.LiveName == row.LiveName, cancellationToken))
                    throw new ProblemException(ProblemCodes.NameTaken, $"App '{app}' has a volume '{row.Name}' already; choose another name.");
                db.Volumes.Add(row);
                return new StoredVolume(row, app, null);
            },
            cancellationToken);

    /// <summary>Changes a volume in one transaction.</summary>
    public Task<StoredVolume> ChangeAsync(
        string tenant, string app, string id, Action<StoredVolume> change, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                var found = await FindAsync(db, tenant, app, id, cancellationToken);
                change(found);
                return found;
            },
            cancellationToken);

    /// <summary>Volumes whose node has not confirmed what they shall be.</summary>
    public Task<List<VolumeRow>> PendingAsync(CancellationToken cancellationToken) =>
        database.ReadAsync(
            db => db.Volumes.Where(v => v.IsDestroying || v.ConfirmedMib < v.SizeMib).OrderBy(v => v.CreatedAt).ToListAsync(cancellationToken),
            cancellationToken);

    public Task ConfirmedAsync(string id, long mib, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                if (await db.Volumes.FirstOrDefaultAsync(v => v.Id == id, cancellationToken) is { } row)
                    row.ConfirmedMib = Math.Max(row.ConfirmedMib, mib);
            },
            cancellationToken);

    /// <summary>Takes back what the node refused for good: a volume that never was, or a size it did not get.</summary>
    public Task RefusedAsync(string id, long mib, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                if (await db.Volumes.FirstOrDefaultAsync(v => v.Id == id && v.SizeMib == mib, cancellationToken) is not { } row)
                    return;
                if (row.ConfirmedMib == 0)
                    db.Volumes.Remove(row);
                else
                    row.SizeMib = row.ConfirmedMib;
            },
            cancellationToken);

    /// <summary>The node does not have it any more; whatever was decided of it meanwhile, there is nothing left.</summary>
    public Task RemovedAsync(string id, CancellationToken cancellationToken) =>
        database.WriteAsync(db => db.Volumes.Where(v => v.Id == id).ExecuteDeleteAsync(cancellationToken), cancellationToken);

    /// <summary>Takes back a deletion that the node refused.</summary>
    public Task KeptAsync(string id, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                if (await db.Volumes.FirstOrDefaultAsync(v => v.Id == id, cancellationToken) is { } row)
                    row.IsDestroying = false;
            },
            cancellationToken);

    /// <summary>
    /// Gives a machine the volumes its configuration mounts, and takes from it those that it does not mount any more. In the transaction that
    /// stores the configuration.
    /// </summary>
    /// <returns>The configuration with every volume named by its id.</returns>
    /// <exception cref="ProblemException">One is not there, another machine's, or on another node.</exception>
    public static async Task<MachineConfig> AttachAsync(ServerDbContext db, MachineRow machine, string app, MachineConfig config, CancellationToken cancellationToken)
    {
        var mounts = new List<MountConfig>();
        foreach (var mount in config.Mounts ?? [])
        {
            var (row, _, holder) = await FindAsync(db, machine.Namespace, app, mount.Volume ?? mount.Name!, cancellationToken);
            if (row.IsSnapshot)
                throw ProblemException.Invalid($"config.mounts: {row.Id} is a snapshot; make a volume of it.");
            // One that the machine has already may be away with its node.
            if (holder is null)
                CheckThere(row);
            if (holder is not null && holder != machine.Id)
                throw new ProblemException(ProblemCodes.VolumeInUse, $"Volume {row.Name} ({row.Id}) is attached to machine {holder}; one machine at a time can have it.");
            if (row.NodeId != machine.NodeId)
                throw new ProblemException(ProblemCodes.IllegalState, $"Volume {row.Name} ({row.Id}) is on another node than the machine.");
            row.MachineId = machine.Id;
            mounts.Add(mount with { Volume = row.Id, Name = row.Name });
        }
        var kept = mounts.ConvertAll(m => m.Volume);
        foreach (var left in await db.Volumes.Where(v => v.MachineId == machine.Id && !kept.Contains(v.Id)).ToListAsync(cancellationToken))
            left.MachineId = null;
        return config with { Mounts = mounts.Count == 0 ? null : mounts };
    }

    /// <summary>Only a volume that its node has confirmed can be mounted or copied.</summary>
    /// <exception cref="ProblemException"><c>illegal-state</c>.</exception>
    public static void CheckThere(VolumeRow row)
    {
        if (row.IsDestroying)
            throw new ProblemException(ProblemCodes.IllegalState, $"Volume {row.Name} ({row.Id}) is being destroyed; use another one.");
        if (row.ConfirmedMib == 0)
            throw new ProblemException(ProblemCodes.IllegalState, $"Volume {row.Name} ({row.Id}) is not made yet; wait until its state is {VolumeStates.Created}.");
    }

    /// <summary>The node of the first volume that a configuration mounts; that the others are there too is checked when they are attached.</summary>
    public static async Task<string?> HomeAsync(ServerDbContext db, string tenant, string app, MachineConfig config, CancellationToken cancellationToken) =>
        config.Mounts is [var mount, ..]
            ? (await FindAsync(db, tenant, app, mount.Volume ?? mount.Name!, cancellationToken)).Row.NodeId
            : null;

    public static async Task<StoredVolume> FindAsync(ServerDbContext db, string tenant, string app, string id, CancellationToken cancellationToken)
    {
        var owner = await AppOf(db, tenant, app, cancellationToken);
        var isId = VolumeId.TryParse(id, out _);
        var rows = db.Volumes.Where(v => v.AppId == owner.Id && (isId ? v.Id == id : v.LiveName == id));
        return await Joined(db, rows).FirstOrDefaultAsync(cancellationToken)
            ?? throw NotFound(app, id);
    }

    private static ProblemException NotFound(string app, string id) =>
        new(ProblemCodes.VolumeNotFound, $"There is no volume '{id}' in app '{app}'; list them with GET /v1/volumes.");

    private static IQueryable<StoredVolume> Joined(ServerDbContext db, IQueryable<VolumeRow> rows) =>
        from row in rows
        join app in db.Apps on row.AppId equals app.Id
        join machine in db.Machines.Where(m => m.DestroyedAt == null) on row.MachineId equals machine.Id into machines
        from machine in machines.DefaultIfEmpty()
        orderby row.CreatedAt, row.Id
        select new StoredVolume(row, app.Name, machine == null ? null : machine.Id);

    private static async Task<AppRow> AppOf(ServerDbContext db, string tenant, string app, CancellationToken cancellationToken) =>
        await db.Apps.AsNoTracking().FirstOrDefaultAsync(a => a.Namespace == tenant && a.Name == app, cancellationToken)
        ?? throw ProblemException.AppNotFound(app);
}
