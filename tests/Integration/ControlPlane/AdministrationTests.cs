using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Npgsql;
using Ravel.ControlPlane.Administration;
using Ravel.ControlPlane.Namespaces;
using Ravel.ControlPlane.Storage;
using Ravel.ControlPlane.Storage.Sqlite;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

/// <summary>Backups, restores and moves between engines, with every table filled.</summary>
public sealed class AdministrationTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-administration-").FullName;
    private readonly List<string> _told = [];

    public void Dispose()
    {
        SqliteConnection.ClearAllPools();
        Directory.Delete(_directory, recursive: true);
    }

    [Theory]
    [InlineData(Engine.Sqlite, Engine.Postgres)]
    [InlineData(Engine.Postgres, Engine.Sqlite)]
    [InlineData(Engine.Postgres, Engine.Postgres)]
    public async Task A_database_that_is_moved_has_every_row_of_every_table(Engine engine, Engine other)
    {
        var (from, to) = (await NewAsync(engine), await NewAsync(other));
        var before = await FillAsync(from);
        await DatabaseAdministration.MoveAsync(from, to, _told.Add, CancellationToken.None);
        Assert.Equal(before, await DumpAsync(to));
        await using var held = await HeldDatabase.OpenAsync(to, CancellationToken.None);
        await using var db = held.CreateContext();
        Assert.Equal(DatabaseCopy.Tables(db.Model).Select(table => $"{table.GetTableName()}: {FilledTables.RowsPerTable} rows"), _told);
    }

    [Theory]
    [InlineData(Engine.Sqlite, Engine.Sqlite)]
    [InlineData(Engine.Sqlite, Engine.Postgres)]
    [InlineData(Engine.Postgres, Engine.Sqlite)]
    [InlineData(Engine.Postgres, Engine.Postgres)]
    public async Task A_backup_of_either_engine_is_restored_into_either(Engine engine, Engine other)
    {
        var (from, to, file) = (await NewAsync(engine), await NewAsync(other), PathOf("backup.db"));
        var before = await FillAsync(from);
        await DatabaseAdministration.BackUpAsync(from, file, _told.Add, CancellationToken.None);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        var bytes = await File.ReadAllBytesAsync(file);
        await DatabaseAdministration.RestoreAsync(file, to, replaces: false, _told.Add, CancellationToken.None);
        Assert.Equal(before, await DumpAsync(to));
        Assert.Equal(bytes, await File.ReadAllBytesAsync(file));
    }

    [Theory]
    [InlineData(Engine.Sqlite)]
    [InlineData(Engine.Postgres)]
    public async Task A_restore_takes_the_place_of_what_is_there_only_when_it_is_told_to(Engine engine)
    {
        var (database, file) = (await NewAsync(engine), PathOf("backup.db"));
        var before = await FillAsync(database);
        await DatabaseAdministration.BackUpAsync(database, file, _told.Add, CancellationToken.None);
        await ChangeAsync(database, db => db.Namespaces.Add(new NamespaceRow { Name = "later", CreatedAt = DateTimeOffset.UnixEpoch }));
        var changed = await DumpAsync(database);
        var refusal = await Assert.ThrowsAsync<AdministrationException>(
            () => DatabaseAdministration.RestoreAsync(file, database, replaces: false, _told.Add, CancellationToken.None));
        Assert.Contains("already", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(changed, await DumpAsync(database));
        await DatabaseAdministration.RestoreAsync(file, database, replaces: true, _told.Add, CancellationToken.None);
        Assert.Equal(before, await DumpAsync(database));
    }

    [Theory]
    [InlineData(Engine.Sqlite)]
    [InlineData(Engine.Postgres)]
    public async Task A_move_that_is_cut_off_at_any_table_leaves_its_target_empty(Engine other)
    {
        var (from, to) = (await NewAsync(Engine.Sqlite), await NewAsync(other));
        await FillAsync(from);
        var tables = 0;
        do
        {
            _told.Clear();
            tables++;
            await Assert.ThrowsAsync<CutOffException>(() => DatabaseAdministration.MoveAsync(
                from,
                to,
                line =>
                {
                    _told.Add(line);
                    if (_told.Count == tables)
                        throw new CutOffException();
                },
                CancellationToken.None));
            Assert.DoesNotContain('{', await DumpAsync(to));
        }
        while (!_told[^1].StartsWith("volumes", StringComparison.Ordinal));
        Assert.True(tables > 10, string.Join(", ", _told));
    }

    [Theory]
    [InlineData(Engine.Sqlite)]
    [InlineData(Engine.Postgres)]
    public async Task Nothing_is_moved_or_restored_while_a_server_runs_but_backups_are_made(Engine engine)
    {
        var database = await NewAsync(engine);
        var other = await NewAsync(Engine.Sqlite);
        var file = PathOf("backup.db");
        await using (var server = await ControlPlaneHost.StartAsync(database: database))
        {
            if (engine == Engine.Postgres)
                await UntilHeldAsync(database);
            await DatabaseAdministration.BackUpAsync(database, file, _told.Add, CancellationToken.None);
            foreach (var work in (Func<Task>[])
                [
                    () => DatabaseAdministration.MoveAsync(database, other, _told.Add, CancellationToken.None),
                    () => DatabaseAdministration.RestoreAsync(file, database, replaces: true, _told.Add, CancellationToken.None),
                ])
            {
                var refusal = await Assert.ThrowsAsync<AdministrationException>(work);
                Assert.Contains("stop", refusal.Message, StringComparison.Ordinal);
            }
            Assert.True((await server.Client.GetAsync("/v1/namespaces")).IsSuccessStatusCode);
        }
        // A process that ended has none.
        SqliteConnection.ClearAllPools();
        await DatabaseAdministration.MoveAsync(database, other, _told.Add, CancellationToken.None);
        Assert.Equal(await DumpAsync(database), await DumpAsync(other));
    }

    [Theory]
    [InlineData(Engine.Sqlite)]
    [InlineData(Engine.Postgres)]
    public async Task Events_after_a_move_get_numbers_that_nobody_has_seen(Engine other)
    {
        var (from, to) = (await NewAsync(Engine.Sqlite), await NewAsync(other));
        await FillAsync(from);
        long last = 0;
        await ChangeAsync(from, async db =>
        {
            // The newest has been seen, and is gone.
            last = await db.MachineEvents.MaxAsync(e => e.Sequence);
            await db.MachineEvents.Where(e => e.Sequence == last).ExecuteDeleteAsync();
        });
        await DatabaseAdministration.MoveAsync(from, to, _told.Add, CancellationToken.None);
        var number = await ChangeAsync(to, async db =>
        {
            var machine = await db.Machines.FirstAsync();
            var row = new Ravel.ControlPlane.Events.MachineEventRow
            {
                MachineId = machine.Id, Type = "start", Status = "started", Source = "user", At = DateTimeOffset.UnixEpoch,
            };
            db.Add(row);
            await db.SaveChangesAsync();
            return row.Sequence;
        });
        Assert.Equal(last + 1, number);
    }

    [Fact]
    public void The_numbers_of_events_are_the_only_ones_that_a_database_gives()
    {
        using var db = new SqliteDesignTimeFactory().CreateDbContext([]);
        Assert.Equal(
            ["machine_events.Sequence"],
            db.Model.GetEntityTypes().SelectMany(type => type.GetProperties(), (type, property) => (type, property))
                .Where(p => p.property.ValueGenerated != ValueGenerated.Never && !p.property.TryGetDefaultValue(out _))
                .Select(p => $"{p.type.GetTableName()}.{p.property.Name}"));
    }

    [Fact]
    public async Task What_is_no_backup_is_refused()
    {
        var to = await NewAsync(Engine.Sqlite);
        var (text, empty, newer) = (PathOf("text"), PathOf("empty"), PathOf("newer"));
        await File.WriteAllTextAsync(text, string.Concat(Enumerable.Repeat("no database\n", 1000)));
        await File.WriteAllTextAsync(empty, "");
        await FillAsync(DatabaseAddress.Sqlite(newer));
        await ChangeAsync(DatabaseAddress.Sqlite(newer), db => db.Database.ExecuteSqlRawAsync(
            """INSERT INTO "__EFMigrationsHistory" VALUES ('20991231000000_Later', '99')"""));
        await RefusedAsync(text, "no SQLite database");
        await RefusedAsync(empty, "no database of a Ravel server");
        await RefusedAsync(newer, "newer");
        await RefusedAsync(PathOf("missing"), "no file");

        async Task RefusedAsync(string file, string why)
        {
            var refusal = await Assert.ThrowsAsync<AdministrationException>(
                () => DatabaseAdministration.RestoreAsync(file, to, replaces: true, _told.Add, CancellationToken.None));
            Assert.Contains(why, refusal.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_backup_of_an_older_version_is_brought_up_to_date_and_stays_as_it_is()
    {
        var file = PathOf("old.db");
        await using (var old = HeldSqlite.Open(file))
        {
            await using var db = old.CreateContext();
            await db.Database.MigrateAsync(db.Database.GetMigrations().First());
            await db.Database.ExecuteSqlRawAsync("INSERT INTO namespaces VALUES ('default', 1)");
        }
        var bytes = await File.ReadAllBytesAsync(file);
        var to = await NewAsync(Engine.Postgres);
        await DatabaseAdministration.RestoreAsync(file, to, replaces: false, _told.Add, CancellationToken.None);
        Assert.Equal("default", await ChangeAsync(to, db => db.Namespaces.Select(n => n.Name).SingleAsync()));
        Assert.Equal(bytes, await File.ReadAllBytesAsync(file));
    }

    public enum Engine
    {
        Sqlite,
        Postgres,
    }

    private int _files;

    private string PathOf(string name) => Path.Combine(_directory, name);

    private async Task<DatabaseAddress> NewAsync(Engine engine) => engine == Engine.Postgres
        ? (await NewDatabase.OnPostgresAsync())!
        : DatabaseAddress.Sqlite(PathOf($"server{_files++}.db"));

    private static Task<string> FillAsync(DatabaseAddress database) => ChangeAsync(database, async db =>
    {
        await FilledTables.FillAsync(db);
        return await FilledTables.DumpAsync(db);
    });

    private static Task<string> DumpAsync(DatabaseAddress database) => ChangeAsync(database, FilledTables.DumpAsync);

    private static Task ChangeAsync(DatabaseAddress database, Action<ServerDbContext> change) => ChangeAsync(database, async db =>
    {
        change(db);
        return await db.SaveChangesAsync();
    });

    private static Task ChangeAsync(DatabaseAddress database, Func<ServerDbContext, Task> change) => ChangeAsync(database, async db =>
    {
        await change(db);
        return 0;
    });

    private static async Task<T> ChangeAsync<T>(DatabaseAddress database, Func<ServerDbContext, Task<T>> change)
    {
        await using var held = await HeldDatabase.OpenAsync(database, CancellationToken.None);
        await held.MigrateAsync(CancellationToken.None);
        await using var db = held.CreateContext();
        return await change(db);
    }

    /// <summary>The relay of a server takes its share of the lock a moment after its start.</summary>
    private static async Task UntilHeldAsync(DatabaseAddress database)
    {
        await using var connection = new NpgsqlConnection(database.Postgres);
        await connection.OpenAsync();
        await using var count = new NpgsqlCommand(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database() WHERE locktype = 'advisory' AND mode = 'ShareLock'",
            connection);
        var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60)).Token;
        while (await count.ExecuteScalarAsync() is not > 0L)
            deadline.ThrowIfCancellationRequested();
    }

    private sealed class CutOffException : Exception;
}
