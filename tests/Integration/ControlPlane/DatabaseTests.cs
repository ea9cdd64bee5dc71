using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging.Abstractions;
using Ravel.ControlPlane.Namespaces;
using Ravel.ControlPlane.Storage.Sqlite;

namespace Ravel.Integration.ControlPlane;

public sealed class DatabaseTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-database-").FullName;

    public void Dispose()
    {
        SqliteConnection.ClearAllPools();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public void The_migrations_make_the_model()
    {
        using var context = new SqliteDesignTimeFactory().CreateDbContext([]);
        Assert.False(context.Database.HasPendingModelChanges(), "The model changed: add a migration (docs/decisions/0060-control-plane.md says how).");
    }

    [Fact]
    public async Task Commits_survive_a_power_cut_and_readers_do_not_wait()
    {
        using var database = await OpenAsync();
        var (journal, synchronous, foreignKeys) = await database.ReadAsync(
            async db =>
            {
                await db.Database.OpenConnectionAsync();
                return (await PragmaAsync(db, "journal_mode"), await PragmaAsync(db, "synchronous"), await PragmaAsync(db, "foreign_keys"));
            },
            CancellationToken.None);
        Assert.Equal("wal", journal);
        Assert.Equal("2", synchronous);
        Assert.Equal("1", foreignKeys);
    }

    [Fact]
    public async Task Migrating_twice_is_harmless()
    {
        using var database = await OpenAsync();
        await database.MigrateAsync(CancellationToken.None);
        using var again = await OpenAsync();
    }

    [Fact]
    public async Task A_write_that_fails_leaves_nothing()
    {
        using var database = await OpenAsync();
        await Assert.ThrowsAsync<InvalidOperationException>(() => database.WriteAsync(
            async db =>
            {
                db.Namespaces.Add(new NamespaceRow { Name = "half", CreatedAt = DateTimeOffset.UnixEpoch });
                await db.SaveChangesAsync();
                throw new InvalidOperationException();
            },
            CancellationToken.None));
        Assert.False(await database.ReadAsync(db => db.Namespaces.AnyAsync(), CancellationToken.None));
    }

    [Fact]
    public async Task Times_keep_their_microseconds()
    {
        using var database = await OpenAsync();
        var time = DateTimeOffset.UnixEpoch.AddSeconds(1_700_000_000).AddMicroseconds(123_456);
        await database.WriteAsync(db => Task.FromResult(db.Namespaces.Add(new NamespaceRow { Name = "a", CreatedAt = time })), CancellationToken.None);
        Assert.Equal(time, await database.ReadAsync(db => db.Namespaces.Select(n => n.CreatedAt).SingleAsync(), CancellationToken.None));
    }

    [Fact]
    public async Task A_hundred_writers_at_once_all_get_their_turn()
    {
        using var database = await OpenAsync();
        await Task.WhenAll(Enumerable.Range(0, 100).Select(i => Task.Run(() => database.WriteAsync(
            db => Task.FromResult(db.Namespaces.Add(new NamespaceRow { Name = $"n{i}", CreatedAt = DateTimeOffset.UnixEpoch })),
            CancellationToken.None))));
        Assert.Equal(100, await database.ReadAsync(db => db.Namespaces.CountAsync(), CancellationToken.None));
    }

    private static async Task<string?> PragmaAsync(DbContext db, string name)
    {
        await using var command = db.Database.GetDbConnection().CreateCommand();
        command.CommandText = $"PRAGMA {name}";
        return (await command.ExecuteScalarAsync())?.ToString();
    }

    private async Task<SqliteDatabase> OpenAsync()
    {
        var database = new SqliteDatabase(Path.Combine(_directory, "server.db"), NullLoggerFactory.Instance);
        await database.MigrateAsync(CancellationToken.None);
        return database;
    }
}
