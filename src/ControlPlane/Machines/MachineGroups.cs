using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Apps;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Machines;

/// <summary>
/// What many requests do to the same tables at the same moment, done for all of them at once: a commit costs as much for one
/// machine as for a hundred.
/// </summary>
internal sealed class MachineGroups
{
    private const int Most = 256;

    private readonly Database _database;
    private readonly TimeProvider _time;
    private readonly Together<NewRow, Machine> _inserts;
    private readonly Together<(string Tenant, string App), AppRow?> _apps;
    private readonly Together<string, StoredMachine?> _finds;
    private readonly Together<(string Id, string NodeId, Rpc.MachineStatus Status), MachineRow?> _answers;

    public MachineGroups(Database database, TimeProvider time)
    {
        (_database, _time) = (database, time);
        _inserts = new(InsertAsync, row => row.Alone(), Most, database.Writers);
        _apps = new(AppsAsync, async key => (await AppsAsync([key]))[0], Most, 1);
        _finds = new(FindAsync, async id => (await FindAsync([id]))[0], Most, 2);
        _answers = new(AnswerAsync, async answer => (await AnswerAsync([answer]))[0], Most, database.Writers);
    }

    /// <summary>A machine without volumes or an idempotency key, which has to look at nothing but its name.</summary>
    /// <param name="App">Of its app.</param>
    /// <param name="Row">Makes it; again when its name was made up and is taken.</param>
    /// <param name="Alone">The way that looks at everything, for when this one fails.</param>
    public sealed record NewRow(string App, Func<MachineRow> Row, Func<Task<Machine>> Alone);

    /// <summary>Commits a machine with others that are there at the same time.</summary>
    public Task<Machine> InsertAsync(NewRow row) => _inserts.AskAsync(row);

    /// <exception cref="ProblemException">There is no such app.</exception>
    public async Task<AppRow> AppAsync(string tenant, string app) => await _apps.AskAsync((tenant, app)) ?? throw ProblemException.AppNotFound(app);

    public Task<StoredMachine?> FindAsync(string id) => _finds.AskAsync(id);

    /// <summary>Takes a node's answer to a command; if the machine went elsewhere meanwhile, that is about a copy of it.</summary>
    /// <returns>The machine after it; null: it is gone.</returns>
    public Task<MachineRow?> AnsweredAsync(string id, string nodeId, Rpc.MachineStatus status) => _answers.AskAsync((id, nodeId, status));

    private Task<IReadOnlyList<Machine>> InsertAsync(IReadOnlyList<NewRow> wanted) => _database.WriteAsync<IReadOnlyList<Machine>>(
        async db =>
        {
            var rows = wanted.Select(row => row.Row()).ToList();
            // A name that is taken fails the whole group: it is looked for first.
            var names = rows.Select(row => row.LiveName).ToArray();
            var taken = (await db.Machines.Where(m => names.Contains(m.LiveName)).Select(m => new { m.AppId, m.LiveName }).ToListAsync())
                .Select(m => (m.AppId, m.LiveName)).ToHashSet();
            for (var i = 0; i < rows.Count; i++)
            {
                while (!taken.Add((rows[i].AppId, rows[i].LiveName)))
                    rows[i] = wanted[i].Row();
            }
            var entries = rows.ConvertAll(row => MachineStore.ByUser(row, "launch", row.CreatedAt));
            db.Machines.AddRange(rows);
            db.MachineEvents.AddRange(entries);
            await db.SaveChangesAsync();
            return [.. rows.Select((row, i) => row.Shown(wanted[i].App, [entries[i]]) with { Nonce = row.LeaseNonce })];
        },
        CancellationToken.None,
        attempts: 1);

    private Task<IReadOnlyList<AppRow?>> AppsAsync(IReadOnlyList<(string Tenant, string App)> wanted) => _database.ReadAsync<IReadOnlyList<AppRow?>>(
        async db =>
        {
            var tenants = wanted.Select(key => key.Tenant).Distinct().ToArray();
            var names = wanted.Select(key => key.App).Distinct().ToArray();
            var found = (await db.Apps.Where(a => tenants.Contains(a.Namespace) && names.Contains(a.Name)).ToListAsync()).ToDictionary(a => (a.Namespace, a.Name));
            return [.. wanted.Select(key => found.GetValueOrDefault(key))];
        },
        CancellationToken.None);

    private Task<IReadOnlyList<StoredMachine?>> FindAsync(IReadOnlyList<string> wanted) => _database.ReadAsync<IReadOnlyList<StoredMachine?>>(
        async db =>
        {
            var ids = wanted.Distinct().ToArray();
            var found = (await db.Machines.Where(m => ids.Contains(m.Id))
                .Join(db.Apps, m => m.AppId, a => a.Id, (m, a) => new { Machine = m, a.Name })
                .ToListAsync()).ToDictionary(m => m.Machine.Id, m => new StoredMachine(m.Machine, m.Name), StringComparer.Ordinal);
            return [.. wanted.Select(id => found.GetValueOrDefault(id))];
        },
        CancellationToken.None);

    private Task<IReadOnlyList<MachineRow?>> AnswerAsync(IReadOnlyList<(string Id, string NodeId, Rpc.MachineStatus Status)> answers) => _database.WriteAsync<IReadOnlyList<MachineRow?>>(
        async db =>
        {
            var ids = answers.Select(answer => answer.Id).Distinct().Order(StringComparer.Ordinal).ToArray();
            var rows = await db.HoldMachines(ids).ToDictionaryAsync(m => m.Id, StringComparer.Ordinal);
            foreach (var (id, nodeId, status) in answers)
            {
                if (rows.TryGetValue(id, out var row) && row.NodeId == nodeId && row.PlacedGeneration <= (long)status.Generation)
                    MachineReports.TakeAnswer(row, status, _time.GetUtcNow());
            }
            return [.. answers.Select(answer => rows.GetValueOrDefault(answer.Id))];
        },
        CancellationToken.None);
}
