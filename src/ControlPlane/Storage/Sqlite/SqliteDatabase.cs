using System.Data;
using System.Data.Common;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.Extensions.Logging;

namespace Ravel.ControlPlane.Storage.Sqlite;

/// <summary>
/// The only place with SQL of SQLite's own. Write-ahead log so that readers never wait for the writer; <c>synchronous=FULL</c> so
/// that an acknowledged change survives a power cut; writers of this process queue here instead of in SQLite's busy handler, which
/// sleeps between its tries.
/// </summary>
internal sealed class SqliteDatabase : Database, IDisposable
{
    // SQLITE_FULL (sqlite.org/rescode.html).
    private const int Full = 13;

    private readonly PooledDbContextFactory<SqliteServerDbContext> _contexts;
    private readonly SemaphoreSlim _writer = new(1, 1);

    /// <summary>Open from the start to the end: what <see cref="HeldSqlite"/> knows a server by.</summary>
    private readonly SqliteConnection _presence;

    public SqliteDatabase(string path, ILoggerFactory loggers, DatabaseFaults? faults = null)
        : base(faults)
    {
        var connection = new SqliteConnectionStringBuilder
        {
            DataSource = path,
            ForeignKeys = true,
            // Seconds; only another process (a backup) can make us wait.
            DefaultTimeout = 15,
        };
        _presence = new SqliteConnection(new SqliteConnectionStringBuilder(connection.ConnectionString) { Pooling = false }.ConnectionString);
        var options = new DbContextOptionsBuilder<SqliteServerDbContext>()
            .UseSqlite(connection.ConnectionString)
            .UseLoggerFactory(loggers)
            .ConfigureWarnings(w => w.Log((RelationalEventId.CommandExecuted, LogLevel.Debug)))
            .AddInterceptors(new Pragmas())
            .Options;
        _contexts = new PooledDbContextFactory<SqliteServerDbContext>(options, poolSize: 64);
    }

    public override bool HasOneServer => true;

    public override int Writers => 1;

    public override async Task MigrateAsync(CancellationToken cancellationToken)
    {
        using var turn = await EnterWriteAsync(cancellationToken);
        await using var context = await CreateAsync(cancellationToken);
        // EF Core's lock over migrations is a row in a table of this file, and it waits for ever for one that a killed process left. There is
        // one server to a file (the host slot sees to it), so whatever is there is a dead one's.
        await context.Database.ExecuteSqlRawAsync("""DROP TABLE IF EXISTS "__EFMigrationsLock" """, cancellationToken);
        await context.Database.MigrateAsync(cancellationToken);
        if (_presence.State == ConnectionState.Open)
            return;
        await _presence.OpenAsync(cancellationToken);
        await using var look = _presence.CreateCommand();
        // Opening alone does not touch the file.
        look.CommandText = "SELECT count(*) FROM sqlite_master";
        await look.ExecuteScalarAsync(cancellationToken);
    }

    protected override bool IsFull(Exception exception) =>
        (exception as SqliteException ?? exception.InnerException as SqliteException) is { SqliteErrorCode: Full };

    protected override async Task<ServerDbContext> CreateAsync(CancellationToken cancellationToken) =>
        await _contexts.CreateDbContextAsync(cancellationToken);

    protected override async ValueTask<IDisposable?> EnterWriteAsync(CancellationToken cancellationToken)
    {
        await _writer.WaitAsync(cancellationToken);
        return new Turn(_writer);
    }

    public void Dispose()
    {
        _presence.Dispose();
        _writer.Dispose();
    }

    private sealed class Turn(SemaphoreSlim writer) : IDisposable
    {
        public void Dispose() => writer.Release();
    }

    private sealed class Pragmas : DbConnectionInterceptor
    {
        private const string Sql = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=15000;";

        public override void ConnectionOpened(DbConnection connection, ConnectionEndEventData eventData)
        {
            using var command = connection.CreateCommand();
            command.CommandText = Sql;
            command.ExecuteNonQuery();
        }

        public override async Task ConnectionOpenedAsync(
            DbConnection connection, ConnectionEndEventData eventData, CancellationToken cancellationToken = default)
        {
            await using var command = connection.CreateCommand();
            command.CommandText = Sql;
            await command.ExecuteNonQueryAsync(cancellationToken);
        }
    }
}
