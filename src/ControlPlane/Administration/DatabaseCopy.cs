using System.Data;
using System.Reflection;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Administration;

/// <summary>
/// Copies every table of the model, whatever the engines are: read from one snapshot, written in one transaction, counted, and only then
/// committed. A crash at any moment leaves the target as it was.
/// </summary>
internal sealed class DatabaseCopy(ServerDbContext source, ServerDbContext target, Action<string> progress)
{
    private const int Batch = 500;

    /// <summary>A table larger than this says how far it is.</summary>
    private const long ToldEvery = 20_000;

    private static readonly TimeSpan StatementTimeout = TimeSpan.FromHours(1);

    private static readonly MethodInfo CopyTable = typeof(DatabaseCopy).GetMethod(nameof(CopyTableAsync), BindingFlags.Instance | BindingFlags.NonPublic)!;
    private static readonly MethodInfo ClearTable = typeof(DatabaseCopy).GetMethod(nameof(ClearTableAsync), BindingFlags.Static | BindingFlags.NonPublic)!;
    private static readonly MethodInfo CountTable = typeof(DatabaseCopy).GetMethod(nameof(CountTableAsync), BindingFlags.Static | BindingFlags.NonPublic)!;

    /// <summary>The tables of a model, each behind those that its rows refer to.</summary>
    public static IReadOnlyList<IEntityType> Tables(IModel model)
    {
        var left = model.GetEntityTypes().OrderBy(type => type.GetTableName(), StringComparer.Ordinal).ToList();
        var ordered = new List<IEntityType>(left.Count);
        while (left.Count > 0)
        {
            var next = left.First(type => type.GetForeignKeys().All(key => key.PrincipalEntityType == type || ordered.Contains(key.PrincipalEntityType)));
            left.Remove(next);
            ordered.Add(next);
        }
        return ordered;
    }

    /// <param name="replaces">Whether what the target has goes; otherwise it must have nothing.</param>
    /// <param name="cancellationToken">Leaves the target as it was.</param>
    /// <returns>Rows copied.</returns>
    /// <exception cref="AdministrationException">The target is not empty, or does not hold what was read.</exception>
    public async Task<long> RunAsync(bool replaces, CancellationToken cancellationToken)
    {
        source.Database.SetCommandTimeout(StatementTimeout);
        target.Database.SetCommandTimeout(StatementTimeout);
        target.ChangeTracker.AutoDetectChangesEnabled = false;
        var tables = Tables(source.Model);
        await using var reading = await source.Database.BeginTransactionAsync(IsolationLevel.RepeatableRead, cancellationToken);
        await using var writing = await target.Database.BeginTransactionAsync(cancellationToken);
        await target.HoldTablesAsync([.. tables.Select(type => type.GetTableName()!)], cancellationToken);
        foreach (var type in tables.Reverse())
        {
            if (replaces)
                await (Task)ClearTable.MakeGenericMethod(type.ClrType).Invoke(null, [target, cancellationToken])!;
            else if (await CountAsync(type, target, cancellationToken) is > 0 and var rows)
                throw new AdministrationException($"It has {rows} rows in {type.GetTableName()} already; give an empty database.");
        }
        var all = 0L;
        foreach (var type in tables)
        {
            var copied = await (Task<long>)CopyTable.MakeGenericMethod(type.ClrType).Invoke(this, [type.GetTableName(), cancellationToken])!;
            var (there, here) = (await CountAsync(type, source, cancellationToken), await CountAsync(type, target, cancellationToken));
            if (there != copied || here != copied)
                throw new AdministrationException($"Of {there} rows in {type.GetTableName()} {here} arrived; nothing was changed, try again.");
            progress($"{type.GetTableName()}: {copied} rows");
            all += copied;
        }
        await target.SetLastEventNumberAsync(await source.LastEventNumberAsync(cancellationToken), cancellationToken);
        await writing.CommitAsync(CancellationToken.None);
        return all;
    }

    private async Task<long> CopyTableAsync<TRow>(string table, CancellationToken cancellationToken)
        where TRow : class
    {
        var copied = 0L;
        var batch = new List<TRow>(Batch);
        await foreach (var row in source.Set<TRow>().AsNoTracking().AsAsyncEnumerable().WithCancellation(cancellationToken))
        {
            batch.Add(row);
            if (batch.Count == Batch)
                await FlushAsync();
        }
        await FlushAsync();
        return copied;

        async Task FlushAsync()
        {
            target.AddRange(batch);
            await target.SaveChangesAsync(cancellationToken);
            target.ChangeTracker.Clear();
            copied += batch.Count;
            batch.Clear();
            if (copied > 0 && copied % ToldEvery == 0)
                progress($"{table}: {copied} rows so far");
        }
    }

    private static Task<long> CountAsync(IEntityType type, ServerDbContext context, CancellationToken cancellationToken) =>
        (Task<long>)CountTable.MakeGenericMethod(type.ClrType).Invoke(null, [context, cancellationToken])!;

    private static Task<long> CountTableAsync<TRow>(ServerDbContext context, CancellationToken cancellationToken)
        where TRow : class => context.Set<TRow>().LongCountAsync(cancellationToken);

    private static Task ClearTableAsync<TRow>(ServerDbContext context, CancellationToken cancellationToken)
        where TRow : class => context.Set<TRow>().ExecuteDeleteAsync(cancellationToken);
}
