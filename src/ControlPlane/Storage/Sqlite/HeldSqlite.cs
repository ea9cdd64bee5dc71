using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Ravel.ControlPlane.Administration;

namespace Ravel.ControlPlane.Storage.Sqlite;

/// <summary>
/// A SQLite file under SQLite's own exclusive lock. Every server keeps a connection (<see cref="SqliteDatabase"/>), and in write-ahead mode
/// each connection holds a shared lock for as long as it is open: leaving that mode succeeds for the only one (sqlite.org/wal.html).
/// </summary>
internal sealed class HeldSqlite : HeldDatabase
{
    // sqlite.org/rescode.html
    private const int Busy = 5;
    private const int Locked = 6;
    private const int Corrupt = 11;
    private const int NotADatabase = 26;

    private readonly SqliteConnection _connection;

    private HeldSqlite(SqliteConnection connection, string path) => (_connection, Shown) = (connection, path);

    public override string Shown { get; }

    /// <summary>Opens a file, or makes it.</summary>
    public static HeldSqlite Open(string path)
    {
        var connection = Connect(path, SqliteOpenMode.ReadWriteCreate);
        try
        {
            // Without patience: a server does not go away by itself.
            Run(connection, "PRAGMA busy_timeout=0; PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL;");
            Run(connection, "PRAGMA journal_mode=DELETE;");
            // Kept from the first transaction on until the connection closes.
            Run(connection, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT;");
            return new HeldSqlite(connection, path);
        }
        catch (SqliteException e)
        {
            connection.Dispose();
            throw e.SqliteErrorCode switch
            {
                Busy or Locked => new AdministrationException($"A server, or another command, has {path} open; stop raveld first (ravel down leaves nothing running).", e),
                Corrupt or NotADatabase => new AdministrationException($"{path} is damaged or no SQLite database; move it away, and its -wal, then restore a backup.", e),
                _ => e,
            };
        }
    }

    /// <summary>SQLite's online backup (sqlite.org/backup.html): one consistent state, while servers write.</summary>
    /// <param name="path">What is copied.</param>
    /// <param name="copy">An empty file.</param>
    public static void CopyOnline(string path, string copy)
    {
        try
        {
            using var source = Connect(path, SqliteOpenMode.ReadWrite);
            using var target = Connect(copy, SqliteOpenMode.ReadWrite);
            source.BackupDatabase(target);
            // One file, without a log beside it.
            Run(target, "PRAGMA journal_mode=DELETE;");
        }
        catch (SqliteException e) when (e.SqliteErrorCode is Corrupt or NotADatabase)
        {
            throw new AdministrationException($"{path} is damaged or no SQLite database.", e);
        }
    }

    public override async Task MigrateAsync(CancellationToken cancellationToken)
    {
        // As in SqliteDatabase: a lock that is there is a dead one's.
        Run(_connection, """DROP TABLE IF EXISTS "__EFMigrationsLock";""");
        await using var context = CreateContext();
        await context.Database.MigrateAsync(cancellationToken);
    }

    /// <exception cref="AdministrationException">What is in it is not what was written.</exception>
    public void CheckIntegrity()
    {
        using var command = _connection.CreateCommand();
        command.CommandText = "PRAGMA integrity_check(1)";
        if (command.ExecuteScalar() is not "ok")
            throw new AdministrationException($"{Shown} is damaged; take another backup.");
    }

    public override ServerDbContext CreateContext() =>
        new SqliteServerDbContext(new DbContextOptionsBuilder<SqliteServerDbContext>().UseSqlite(_connection).Options);

    public override ValueTask DisposeAsync() => _connection.DisposeAsync();

    private static SqliteConnection Connect(string path, SqliteOpenMode mode)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = mode, Pooling = false }.ConnectionString);
        connection.Open();
        return connection;
    }

    private static void Run(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.CommandTimeout = 1;
        command.ExecuteNonQuery();
    }
}
