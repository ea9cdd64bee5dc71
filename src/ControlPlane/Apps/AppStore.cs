using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Apps;

internal sealed class AppStore(Database database, TimeProvider time)
{
    public Task<List<App>> ListAsync(string tenant, CancellationToken cancellationToken) =>
        database.ReadAsync(
            db => db.Apps.Where(a => a.Namespace == tenant)
                .OrderBy(a => a.Name)
                .Select(a => new App
                {
                    Name = a.Name,
                    Namespace = a.Namespace,
                    CreatedAt = a.CreatedAt,
                    MachineCount = db.Machines.Count(m => m.AppId == a.Id && m.DestroyedAt == null),
                })
                .ToListAsync(cancellationToken),
            cancellationToken);

    public Task<App> GetAsync(string tenant, string name, CancellationToken cancellationToken) =>
        database.ReadAsync(
            async db =>
            {
                var row = await FindAsync(db, tenant, name, cancellationToken);
                return Shown(row, await LivingAsync(db, row, cancellationToken));
            },
            cancellationToken);

    public Task<App> CreateAsync(string tenant, string name, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                if (!await db.Namespaces.AnyAsync(n => n.Name == tenant, cancellationToken))
                    throw ProblemException.NamespaceNotFound(tenant);
                if (await db.Apps.AnyAsync(a => a.Namespace == tenant && a.Name == name, cancellationToken))
                    throw new ProblemException(ProblemCodes.NameTaken, $"There is an app '{name}' in this namespace already.");
                var now = time.GetUtcNow();
                var row = new AppRow { Id = Ulid.NewUlid(now).ToString(), Namespace = tenant, Name = name, CreatedAt = now };
                db.Apps.Add(row);
                return Shown(row, 0);
            },
            cancellationToken);

    /// <summary>Removes an app without machines, and what is still known of its destroyed ones.</summary>
    public Task DeleteAsync(string tenant, string name, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                var row = await FindAsync(db, tenant, name, cancellationToken);
                await db.HoldAppAsync(row.Id, cancellationToken);
                var machines = await LivingAsync(db, row, cancellationToken);
                if (machines > 0)
                {
                    throw new ProblemException(
                        ProblemCodes.AppNotEmpty, $"App '{name}' still has {machines} machines; destroy them first, or delete it with force=true.");
                }
                var volumes = await db.Volumes.CountAsync(v => v.AppId == row.Id, cancellationToken);
                if (volumes > 0)
                    throw new ProblemException(ProblemCodes.AppNotEmpty, $"App '{name}' still has {volumes} volumes or snapshots; delete them first (GET /v1/apps/{name}/volumes?include_snapshots=true lists them).");
                db.Apps.Remove(row);
            },
            cancellationToken);

    private static async Task<AppRow> FindAsync(ServerDbContext db, string tenant, string name, CancellationToken cancellationToken) =>
        await db.Apps.FirstOrDefaultAsync(a => a.Namespace == tenant && a.Name == name, cancellationToken)
        ?? throw ProblemException.AppNotFound(name);

    private static Task<int> LivingAsync(ServerDbContext db, AppRow app, CancellationToken cancellationToken) =>
        db.Machines.CountAsync(m => m.AppId == app.Id && m.DestroyedAt == null, cancellationToken);

    private static App Shown(AppRow row, int machines) =>
        new() { Name = row.Name, Namespace = row.Namespace, CreatedAt = row.CreatedAt, MachineCount = machines };
}
