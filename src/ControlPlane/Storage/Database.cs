using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Storage;

/// <summary>
/// The one door to the database. Reads see committed rows and track nothing; writes are one transaction each and run again when
/// another writer was faster, so what they decide on is always what they change.
/// </summary>
internal abstract class Database(DatabaseFaults? faults)
{
    private const int Attempts = 5;

    /// <summary>No other server can have this database open.</summary>
    public virtual bool HasOneServer => false;

    /// <summary>How many groups of writes may be under way at once.</summary>
    public abstract int Writers { get; }

    /// <summary>Brings the schema up to date; safe to call at every start.</summary>
    public abstract Task MigrateAsync(CancellationToken cancellationToken);

    public async Task<T> ReadAsync<T>(Func<ServerDbContext, Task<T>> read, CancellationToken cancellationToken)
    {
        try
        {
            faults?.OnAccess();
            await using var context = await CreateAsync(cancellationToken);
            context.ChangeTracker.QueryTrackingBehavior = QueryTrackingBehavior.NoTracking;
            return await read(context);
        }
        catch (Exception e) when (IsAway(e))
        {
            throw Away(e);
        }
    }

    /// <summary>
    /// Runs <paramref name="write"/> in a transaction, saves what it changed and commits. When the rows moved under it (a stale
    /// version, a unique key that was just taken) it runs again on fresh rows: it must have no effect but on its context.
    /// </summary>
    /// <exception cref="ProblemException"><c>disk-full</c>.</exception>
    public async Task<T> WriteAsync<T>(Func<ServerDbContext, Task<T>> write, CancellationToken cancellationToken, int attempts = Attempts)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                using var turn = await EnterWriteAsync(cancellationToken);
                faults?.OnAccess();
                await using var context = await CreateAsync(cancellationToken);
                await using var transaction = await context.Database.BeginTransactionAsync(cancellationToken);
                var result = await write(context);
                await context.SaveChangesAsync(cancellationToken);
                // From here on the outcome is the database's: a caller that went away must not leave it half known.
                faults?.BeforeCommit(context);
                await transaction.CommitAsync(CancellationToken.None);
                faults?.AfterCommit(context);
                return result;
            }
            catch (Exception e) when (IsFull(e))
            {
                throw new ProblemException(ProblemCodes.DiskFull, "The disk that holds the server's database is full, and nothing was changed: free some space.");
            }
            catch (Exception e) when (IsAway(e))
            {
                throw Away(e);
            }
            catch (Exception e) when (attempt < attempts && (e is DbUpdateException || MayPass(e)))
            {
                // Concurrency and unique keys both surface here; the next attempt sees who won.
            }
        }
    }

    public Task WriteAsync(Func<ServerDbContext, Task> write, CancellationToken cancellationToken) =>
        WriteAsync(
            async context =>
            {
                await write(context);
                return true;
            },
            cancellationToken);

    protected abstract Task<ServerDbContext> CreateAsync(CancellationToken cancellationToken);

    /// <summary>Waits for this process's turn to write, where the engine has one writer at a time; null where it has many.</summary>
    protected abstract ValueTask<IDisposable?> EnterWriteAsync(CancellationToken cancellationToken);

    /// <summary>Whether a transaction lost against another and may win the next time.</summary>
    protected virtual bool MayPass(Exception exception) => false;

    /// <summary>Whether there is no room to write to.</summary>
    protected abstract bool IsFull(Exception exception);

    /// <summary>Whether the engine, and not the statement, is what failed.</summary>
    protected virtual bool IsAway(Exception exception) => false;

    protected static ProblemException Away(Exception cause) => new(
        ProblemCodes.DatabaseUnavailable, "The server's database does not answer; machines run on, and this works again when it does.", cause);
}
