using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Ravel.ControlPlane.Administration;

namespace Ravel.ControlPlane.Storage.Postgres;

/// <summary>
/// A PostgreSQL database under an advisory lock that every server shares with the others for as long as it runs; one that starts meanwhile
/// waits before its first look. The lock is the connection's, and so gone with this process.
/// </summary>
internal sealed class HeldPostgres : HeldDatabase
{
    private readonly PostgresDatabase _database;
    private readonly NpgsqlConnection _holder;

    private HeldPostgres(PostgresDatabase database, NpgsqlConnection holder, string shown) => (_database, _holder, Shown) = (database, holder, shown);

    public override string Shown { get; }

    public static async Task<HeldPostgres> OpenAsync(string connection, string shown, CancellationToken cancellationToken)
    {
        var database = new PostgresDatabase(connection, NullLoggerFactory.Instance);
        NpgsqlConnection? holder = null;
        try
        {
            holder = await database.Source.OpenConnectionAsync(cancellationToken);
            await using var hold = new NpgsqlCommand($"SELECT pg_try_advisory_lock({PostgresDatabase.ServerLock})", holder);
            if (await hold.ExecuteScalarAsync(cancellationToken) is not true)
                throw new AdministrationException($"A server, or another command, works on {shown}; stop every raveld of the cluster that is a server first.");
            return new HeldPostgres(database, holder, shown);
        }
        catch
        {
            if (holder is not null)
                await holder.DisposeAsync();
            await database.DisposeAsync();
            throw;
        }
    }

    public override async Task MigrateAsync(CancellationToken cancellationToken)
    {
        await using var context = CreateContext();
        await context.Database.MigrateAsync(cancellationToken);
    }

    public override ServerDbContext CreateContext() =>
        new PostgresServerDbContext(new DbContextOptionsBuilder<PostgresServerDbContext>().UseNpgsql(_database.Source).Options);

    public override async ValueTask DisposeAsync()
    {
        // A pool would keep the session, and with it the lock.
        await using (var release = new NpgsqlCommand("SELECT pg_advisory_unlock_all()", _holder))
            await release.ExecuteNonQueryAsync();
        await _holder.DisposeAsync();
        await _database.DisposeAsync();
    }
}
