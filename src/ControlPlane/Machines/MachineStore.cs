using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.ControlPlane.Apps;
using Ravel.ControlPlane.Events;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;
using Ravel.ControlPlane.Volumes;

namespace Ravel.ControlPlane.Machines;

/// <summary>A machine and the name of its app.</summary>
internal sealed record StoredMachine(MachineRow Row, string App);

/// <summary>Which machine a caller means, always inside one namespace. <paramref name="Id"/>: its id, or its name while it lives.</summary>
/// <param name="Tenant">The namespace.</param>
/// <param name="App">Its app.</param>
/// <param name="Id">The machine's id or name.</param>
/// <param name="Nonce">Of the lease the caller says to hold.</param>
internal sealed record MachineKey(string Tenant, string App, string Id, string? Nonce = null);

internal sealed class MachineStore(Database database, IdempotencyKeys keys, TimeProvider time)
{
    private const int ShownEvents = 20;

    public Task<StoredMachine> GetAsync(MachineKey key, CancellationToken cancellationToken) =>
        database.ReadAsync(db => FindAsync(db, key, cancellationToken), cancellationToken);

    public Task<StoredMachine?> FindByIdAsync(string id, CancellationToken cancellationToken) =>
        database.ReadAsync(
            async db =>
            {
                var found = await db.Machines.Where(m => m.Id == id)
                    .Join(db.Apps, m => m.AppId, a => a.Id, (m, a) => new { Machine = m, a.Name })
                    .FirstOrDefaultAsync(cancellationToken);
                return found is null ? null : new StoredMachine(found.Machine, found.Name);
            },
            cancellationToken);

    /// <summary>A machine with its newest events, newest first.</summary>
    public Task<Machine> ShowAsync(MachineKey key, CancellationToken cancellationToken) =>
        database.ReadAsync(db => ShowAsync(db, key, cancellationToken), cancellationToken);

    /// <summary>A machine that a repeated request had made, as that request was answered: with the nonce of the lease it asked for.</summary>
    public Task<Machine> ShowMadeAsync(MachineKey key, int? leaseTtl, CancellationToken cancellationToken) =>
        database.ReadAsync(db => ShowMadeAsync(db, key, leaseTtl, cancellationToken), cancellationToken);

    /// <summary>Newest first.</summary>
    public Task<List<MachineEvent>> NewestEventsAsync(string tenant, string? machine, int limit, CancellationToken cancellationToken) =>
        database.ReadAsync(
            async db => (await EventsIn(db, tenant, machine).OrderByDescending(e => e.Sequence).Take(limit).ToListAsync(cancellationToken))
                .ConvertAll(e => e.Shown()),
            cancellationToken);

    /// <summary>Oldest first.</summary>
    public Task<List<MachineEvent>> EventsAfterAsync(string tenant, string? machine, long after, int limit, CancellationToken cancellationToken) =>
        database.ReadAsync(
            async db => (await EventsIn(db, tenant, machine).Where(e => e.Sequence > after).OrderBy(e => e.Sequence).Take(limit)
                .ToListAsync(cancellationToken)).ConvertAll(e => e.Shown()),
            cancellationToken);

    /// <summary>The newest event there is, of whatever machine.</summary>
    public Task<long> LastEventAsync(CancellationToken cancellationToken) =>
        database.ReadAsync(async db => await db.SettledEvents.MaxAsync(e => (long?)e.Sequence, cancellationToken) ?? 0, cancellationToken);

    /// <param name="tenant">The namespace.</param>
    /// <param name="app">Null: every app of it.</param>
    /// <param name="withDestroyed">Also those that are only kept for a while.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <param name="after">Only those behind this one in the list.</param>
    /// <param name="limit">The most to read.</param>
    public Task<List<StoredMachine>> ListAsync(
        string tenant, string? app, bool withDestroyed, CancellationToken cancellationToken, ListCursor? after = null, int? limit = null) =>
        database.ReadAsync(
            async db =>
            {
                if (app is not null && !await db.Apps.AnyAsync(a => a.Namespace == tenant && a.Name == app, cancellationToken))
                    throw ProblemException.AppNotFound(app);
                var rows = await db.Machines
                    .Where(m => m.Namespace == tenant && (withDestroyed || m.DestroyedAt == null))
                    .Where(m => after == null || m.CreatedAt > after.CreatedAt || (m.CreatedAt == after.CreatedAt && string.Compare(m.Id, after.Id) > 0))
                    .Join(db.Apps.Where(a => app == null || a.Name == app), m => m.AppId, a => a.Id, (m, a) => new { Machine = m, a.Name })
                    .OrderBy(r => r.Machine.CreatedAt).ThenBy(r => r.Machine.Id)
                    .Take(limit ?? int.MaxValue)
                    .ToListAsync(cancellationToken);
                return rows.ConvertAll(r => new StoredMachine(r.Machine, r.Name));
            },
            cancellationToken);

    /// <summary>The node of the volumes that a configuration mounts; null when it mounts none.</summary>
    public Task<string?> HomeOfVolumesAsync(string tenant, string app, MachineConfig config, CancellationToken cancellationToken) =>
        database.ReadAsync(db => VolumeStore.HomeAsync(db, tenant, app, config, cancellationToken), cancellationToken);

    /// <summary>Refuses what can be refused before capacity is reserved.</summary>
    /// <returns>The app.</returns>
    public Task<AppRow> CheckNewAsync(string tenant, string app, string? name, CancellationToken cancellationToken) =>
        database.ReadAsync(async db => await NewIn(db, tenant, app, name, cancellationToken), cancellationToken);

    /// <param name="tenant">The namespace.</param>
    /// <param name="app">Its app.</param>
    /// <param name="create">Makes the row for the app's id; the name may be one that was made up.</param>
    /// <param name="key">Stored with it; what it stands for already is the answer.</param>
    /// <param name="leaseTtl">Of the lease that is asked for, in seconds.</param>
    /// <param name="cancellationToken">Ends the wait before the commit.</param>
    public Task<Machine> InsertAsync(
        string tenant, string app, Func<string, MachineRow> create, IdempotencyKey? key, int? leaseTtl, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                if (key is not null && await IdempotencyKeys.FindAsync(db, key, cancellationToken) is { } made)
                    return await ShowMadeAsync(db, new MachineKey(tenant, app, made), leaseTtl, cancellationToken);
                var owner = await NewIn(db, tenant, app, name: null, cancellationToken);
                var row = create(owner.Id);
                await NewIn(db, tenant, app, row.Name, cancellationToken);
                row.Config = MachineRowMapping.WriteConfig(await VolumeStore.AttachAsync(db, row, app, row.ReadConfig(), cancellationToken));
                if (key is not null)
                    keys.Add(db, key, row.Id);
                var entry = ByUser(row, "launch", row.CreatedAt);
                db.Machines.Add(row);
                db.MachineEvents.Add(entry);
                await db.SaveChangesAsync(cancellationToken);
                return row.Shown(app, [entry]) with { Nonce = row.LeaseNonce };
            },
            cancellationToken);

    /// <summary>Machines that one request makes together: all of them or none.</summary>
    /// <param name="tenant">The namespace.</param>
    /// <param name="app">Its app.</param>
    /// <param name="create">Makes the rows for the app's id; names may be made up.</param>
    /// <param name="key">Stored with them; what it stands for already is the answer.</param>
    /// <param name="cancellationToken">Ends the wait before the commit.</param>
    public Task<IReadOnlyList<Machine>> InsertManyAsync(
        string tenant, string app, Func<string, IReadOnlyList<MachineRow>> create, IdempotencyKey? key, CancellationToken cancellationToken) =>
        database.WriteAsync<IReadOnlyList<Machine>>(
            async db =>
            {
                if (key is not null && await IdempotencyKeys.FindAsync(db, key, cancellationToken) is { } made)
                    return await ShowBatchAsync(db, app, made, cancellationToken);
                var owner = await NewIn(db, tenant, app, name: null, cancellationToken);
                var rows = create(owner.Id);
                var names = rows.Select(row => row.Name).ToArray();
                if (await db.Machines.Where(m => m.AppId == owner.Id && names.Contains(m.LiveName)).Select(m => m.Name).FirstOrDefaultAsync(cancellationToken) is { } taken)
                    throw NameTaken(app, taken);
                var entries = rows.Select(row => ByUser(row, "launch", row.CreatedAt)).ToList();
                if (key is not null)
                    keys.Add(db, key, rows[0].Batch!);
                db.Machines.AddRange(rows);
                db.MachineEvents.AddRange(entries);
                await db.SaveChangesAsync(cancellationToken);
                return [.. rows.Zip(entries, (row, entry) => row.Shown(app, [entry]))];
            },
            cancellationToken);

    /// <summary>Machines that a repeated request had made, those that are still known.</summary>
    public Task<IReadOnlyList<Machine>> ShowBatchAsync(string app, string batch, CancellationToken cancellationToken) =>
        database.ReadAsync(db => ShowBatchAsync(db, app, batch, cancellationToken), cancellationToken);

    /// <summary>Changes a machine in one transaction, with an event if its intent changed.</summary>
    /// <param name="key">Which.</param>
    /// <param name="eventType">Of the event.</param>
    /// <param name="change">Changes its row.</param>
    /// <param name="cancellationToken">Ends the wait before the commit.</param>
    /// <param name="config">What it shall be from now on, with the volumes that it names; null leaves it as it is.</param>
    /// <returns>The machine after it, and the state it was in.</returns>
    public Task<(StoredMachine Machine, string Previous)> ChangeAsync(
        MachineKey key, string eventType, Action<MachineRow, DateTimeOffset> change, CancellationToken cancellationToken, MachineConfig? config = null) =>
        database.WriteAsync(
            async db =>
            {
                var found = await FindAsync(db, key, cancellationToken);
                var row = found.Row;
                MachineLeases.Check(row, key.Nonce, time.GetUtcNow());
                var previous = row.SeenState();
                var before = row.Intent();
                change(row, time.GetUtcNow());
                if (config is not null)
                    row.Config = MachineRowMapping.WriteConfig(await VolumeStore.AttachAsync(db, row, found.App, config, cancellationToken));
                if (row.Intent() != before)
                    db.MachineEvents.Add(ByUser(row, eventType, time.GetUtcNow()));
                return (found, previous);
            },
            cancellationToken);

    public Task RefusedAsync(string id, long generation, string code, string message, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                if (await db.Machines.FirstOrDefaultAsync(m => m.Id == id, cancellationToken) is not { } row || row.Generation != generation)
                    return;
                MachineReports.TakeRefusal(row, generation, code, message, time.GetUtcNow());
                var entry = ByUser(row, "fail", time.GetUtcNow());
                (entry.Source, entry.ProblemCode, entry.ProblemMessage) = ("ravel", row.ProblemCode, row.ProblemMessage);
                db.MachineEvents.Add(entry);
            },
            cancellationToken);

    /// <summary>Machines whose node has not confirmed the newest intent.</summary>
    public Task<List<string>> PendingAsync(CancellationToken cancellationToken) =>
        database.ReadAsync(
            db => db.Machines
                .Where(m => m.AcceptedGeneration < m.Generation && m.DestroyedAt == null
                    && (m.RefusedGeneration < m.Generation || m.Desired == DesiredState.Destroyed))
                .Select(m => m.Id)
                .ToListAsync(cancellationToken),
            cancellationToken);

    /// <summary>Forgets machines that were destroyed before a time.</summary>
    public Task<int> ForgetAsync(DateTimeOffset destroyedBefore, CancellationToken cancellationToken) =>
        database.WriteAsync(
            db => db.Machines.Where(m => m.DestroyedAt != null && m.DestroyedAt < destroyedBefore).ExecuteDeleteAsync(cancellationToken),
            cancellationToken);

    internal static MachineEventRow ByUser(MachineRow row, string type, DateTimeOffset at) => new()
    {
        MachineId = row.Id,
        Type = type,
        Status = row.SeenState(),
        Source = "user",
        At = at,
        InstanceId = row.InstanceId,
    };

    private static async Task<Machine> ShowAsync(ServerDbContext db, MachineKey key, CancellationToken cancellationToken)
    {
        var (row, app) = await FindAsync(db, key, cancellationToken);
        var events = await EventsOf(db, row.Id, ShownEvents).ToListAsync(cancellationToken);
        return row.Shown(app, events);
    }

    private static async Task<IReadOnlyList<Machine>> ShowBatchAsync(ServerDbContext db, string app, string batch, CancellationToken cancellationToken) =>
        (await db.Machines.AsNoTracking().Where(m => m.Batch == batch).OrderBy(m => m.Id).ToListAsync(cancellationToken)).ConvertAll(row => row.Shown(app));

    private async Task<Machine> ShowMadeAsync(ServerDbContext db, MachineKey key, int? leaseTtl, CancellationToken cancellationToken)
    {
        var shown = await ShowAsync(db, key, cancellationToken);
        var (row, _) = await FindAsync(db, key, cancellationToken);
        return MachineLeases.IsFirst(row, leaseTtl, time.GetUtcNow()) ? shown with { Nonce = row.LeaseNonce } : shown;
    }

    private static IQueryable<MachineEventRow> EventsIn(ServerDbContext db, string tenant, string? machine) => machine is not null
        ? db.MachineEvents.Where(e => e.MachineId == machine)
        : db.SettledEvents.Where(e => db.Machines.Any(m => m.Id == e.MachineId && m.Namespace == tenant));

    private static IQueryable<MachineEventRow> EventsOf(ServerDbContext db, string id, int limit) =>
        db.MachineEvents.Where(e => e.MachineId == id).OrderByDescending(e => e.Sequence).Take(limit);

    private static async Task<StoredMachine> FindAsync(ServerDbContext db, MachineKey key, CancellationToken cancellationToken)
    {
        var app = await db.Apps.AsNoTracking().FirstOrDefaultAsync(a => a.Namespace == key.Tenant && a.Name == key.App, cancellationToken)
            ?? throw ProblemException.AppNotFound(key.App);
        // A name can look like an id; then it is one.
        var row = await (MachineId.TryParse(key.Id, out _)
                ? db.Machines.FirstOrDefaultAsync(m => m.Id == key.Id && m.AppId == app.Id, cancellationToken)
                : db.Machines.FirstOrDefaultAsync(m => m.AppId == app.Id && m.LiveName == key.Id, cancellationToken))
            ?? throw ProblemException.MachineNotFound(key.Id);
        return new StoredMachine(row, app.Name);
    }

    private static async Task<AppRow> NewIn(ServerDbContext db, string tenant, string app, string? name, CancellationToken cancellationToken)
    {
        var owner = await db.Apps.AsNoTracking().FirstOrDefaultAsync(a => a.Namespace == tenant && a.Name == app, cancellationToken)
            ?? throw ProblemException.AppNotFound(app);
        if (name is not null && await db.Machines.AnyAsync(m => m.AppId == owner.Id && m.LiveName == name, cancellationToken))
            throw NameTaken(app, name);
        return owner;
    }

    private static ProblemException NameTaken(string app, string name) =>
        new(ProblemCodes.NameTaken, $"App '{app}' has a machine '{name}' already; choose another name or destroy that one.");
}
