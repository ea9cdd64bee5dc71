using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Namespaces;

internal sealed class NamespaceStore(Database database, TimeProvider time)
{
    /// <param name="only">Null: every namespace.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public Task<List<Namespace>> ListAsync(string? only, CancellationToken cancellationToken) =>
        database.ReadAsync(
            async db => (await db.Namespaces
                .Where(n => only == null || n.Name == only)
                .OrderBy(n => n.Name)
                .ToListAsync(cancellationToken)).ConvertAll(Shown),
            cancellationToken);

    public Task<Namespace> GetAsync(string name, CancellationToken cancellationToken) =>
        database.ReadAsync(
            async db => Shown(await db.Namespaces.FirstOrDefaultAsync(n => n.Name == name, cancellationToken)
                ?? throw ProblemException.NamespaceNotFound(name)),
            cancellationToken);

    public Task<Namespace> CreateAsync(string name, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                if (await db.Namespaces.AnyAsync(n => n.Name == name, cancellationToken))
                    throw new ProblemException(ProblemCodes.NameTaken, $"There is a namespace '{name}' already; choose another name.");
                var row = new NamespaceRow { Name = name, CreatedAt = time.GetUtcNow() };
                db.Namespaces.Add(row);
                return Shown(row);
            },
            cancellationToken);

    /// <summary>Removes an empty namespace and its tokens.</summary>
    public Task DeleteAsync(string name, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                var row = await db.Namespaces.FirstOrDefaultAsync(n => n.Name == name, cancellationToken)
                    ?? throw ProblemException.NamespaceNotFound(name);
                var apps = await db.Apps.CountAsync(a => a.Namespace == name, cancellationToken);
                if (apps > 0)
                    throw new ProblemException(ProblemCodes.NamespaceNotEmpty, $"Namespace '{name}' still has {apps} apps; delete them first.");
                db.Namespaces.Remove(row);
            },
            cancellationToken);

    private static Namespace Shown(NamespaceRow row) => new() { Name = row.Name, CreatedAt = row.CreatedAt };
}
