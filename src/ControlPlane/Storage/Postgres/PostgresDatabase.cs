using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace Ravel.ControlPlane.Storage.Postgres;

/// <summary>
/// The only place with what is PostgreSQL's own. Transactions are READ COMMITTED: what a write decides on is guarded by row versions,
/// unique keys, foreign keys and <see cref="ServerDbContext.HoldAppAsync"/>, so that writers of different machines never wait for or
/// abort each other, on however many servers.
/// </summary>
internal sealed class PostgresDatabase : Database, IAsyncDisposable
{
    /// <summary>Any number that means this and nothing else in the database.</summary>
    private const long MigrationLock = 0x7261_7665_6C01;

    /// <summary>Shared by servers for as long as they run; <see cref="HeldPostgres"/> takes it alone.</summary>
    public const long ServerLock = 0x7261_7665_6C02;

    private readonly PooledDbContextFactory<PostgresServerDbContext> _contexts;

    public PostgresDatabase(string connection, ILoggerFactory loggers, DatabaseFaults? faults = null)
        : base(faults)
    {
        Source = new NpgsqlDataSourceBuilder(connection).Build();
        var options = new DbContextOptionsBuilder<PostgresServerDbContext>()
            .UseNpgsql(Source)
            .UseLoggerFactory(loggers)
            .ConfigureWarnings(w => w.Log((RelationalEventId.CommandExecuted, LogLevel.Debug)))
            .Options;
        _contexts = new PooledDbContextFactory<PostgresServerDbContext>(options, poolSize: 128);
    }

    public NpgsqlDataSource Source { get; }

    public override int Writers => 2;

    /// <summary>
    /// Of servers that start together one at a time. EF Core's own lock is on its table of migrations, which a new database does not have.
    /// </summary>
    public override async Task MigrateAsync(CancellationToken cancellationToken)
    {
        try
        {
            await MigrateAloneAsync(cancellationToken);
        }
        catch (Exception e) when (IsAway(e))
        {
            throw Away(e);
        }
    }

    private async Task MigrateAloneAsync(CancellationToken cancellationToken)
    {
        // Held by this connection, and so gone with this process.
        await using var holder = await Source.OpenConnectionAsync(cancellationToken);
        // First what an administrator holds who restores this database or moves another into it.
        var locks = $"SELECT pg_advisory_lock_shared({ServerLock}), pg_advisory_lock({MigrationLock})";
        await using (var hold = new NpgsqlCommand(locks, holder) { CommandTimeout = 0 })
            await hold.ExecuteNonQueryAsync(cancellationToken);
        await using var context = await CreateAsync(cancellationToken);
        await context.Database.MigrateAsync(cancellationToken);
        await using var release = new NpgsqlCommand($"SELECT pg_advisory_unlock({MigrationLock}), pg_advisory_unlock_shared({ServerLock})", holder);
        await release.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <summary>For who copies all of it.</summary>
    public Task<ServerDbContext> OpenContextAsync(CancellationToken cancellationToken) => CreateAsync(cancellationToken);

    public ValueTask DisposeAsync() => Source.DisposeAsync();

    protected override async Task<ServerDbContext> CreateAsync(CancellationToken cancellationToken) =>
        await _contexts.CreateDbContextAsync(cancellationToken);

    protected override ValueTask<IDisposable?> EnterWriteAsync(CancellationToken cancellationToken) => ValueTask.FromResult<IDisposable?>(null);

    /// <summary>Deadlocks and failed serialization: whoever lost tries again.</summary>
    protected override bool MayPass(Exception exception) => Cause(exception) is PostgresException
    {
        SqlState: PostgresErrorCodes.DeadlockDetected or PostgresErrorCodes.SerializationFailure,
    };

    protected override bool IsFull(Exception exception) => Cause(exception) is PostgresException { SqlState: PostgresErrorCodes.DiskFull };

    /// <summary>The server is away, is going away, takes no more connections, or does not answer in time.</summary>
    protected override bool IsAway(Exception exception) => Cause(exception) switch
    {
        PostgresException e => e.SqlState is PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown
            or PostgresErrorCodes.CannotConnectNow or PostgresErrorCodes.TooManyConnections or PostgresErrorCodes.DiskFull
            or PostgresErrorCodes.ReadOnlySqlTransaction,
        NpgsqlException => true,
        _ => false,
    };

    /// <summary>What the driver said, under what EF Core wrapped around it.</summary>
    private static Exception? Cause(Exception exception)
    {
        for (var e = exception; e is not null; e = e.InnerException)
        {
            if (e is NpgsqlException)
                return e;
        }
        return null;
    }
}
