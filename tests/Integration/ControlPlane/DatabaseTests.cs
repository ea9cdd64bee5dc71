using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging.Abstractions;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Apps;
using Ravel.ControlPlane.Events;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Namespaces;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;
using Ravel.ControlPlane.Storage.Postgres;
using Ravel.ControlPlane.Storage.Sqlite;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

/// <summary>What the stores rely on, of every engine.</summary>
public abstract class DatabaseTests : IAsyncLifetime
{
    private Database _database = null!;

    private protected Database Database => _database;

    private protected abstract ServerDbContext DesignTime { get; }

    public async ValueTask InitializeAsync() => _database = await OpenAsync();

    public abstract ValueTask DisposeAsync();

    [Fact]
    public void The_migrations_make_the_model()
    {
        using var context = DesignTime;
        Assert.False(context.Database.HasPendingModelChanges(), "The model changed: add a migration (docs/decisions/0060-control-plane.md says how).");
    }

    [Fact]
    public async Task Migrating_twice_is_harmless()
    {
        await _database.MigrateAsync(CancellationToken.None);
        await OpenAsync();
    }

    [Fact]
    public async Task A_write_that_fails_leaves_nothing()
    {
        await Assert.ThrowsAsync<InvalidOperationException>(() => _database.WriteAsync(
            async db =>
            {
                db.Namespaces.Add(NewNamespace("half"));
                await db.SaveChangesAsync();
                throw new InvalidOperationException();
            },
            CancellationToken.None));
        Assert.False(await _database.ReadAsync(db => db.Namespaces.AnyAsync(), CancellationToken.None));
    }

    [Fact]
    public async Task Times_keep_their_microseconds()
    {
        var time = DateTimeOffset.UnixEpoch.AddSeconds(1_700_000_000).AddMicroseconds(123_456);
        await _database.WriteAsync(db => Task.FromResult(db.Namespaces.Add(new NamespaceRow { Name = "a", CreatedAt = time })), CancellationToken.None);
        Assert.Equal(time, await _database.ReadAsync(db => db.Namespaces.Select(n => n.CreatedAt).SingleAsync(), CancellationToken.None));
    }

    [Fact]
    public async Task A_hundred_writers_at_once_all_get_their_turn()
    {
        await Task.WhenAll(Enumerable.Range(0, 100).Select(i => Task.Run(() => _database.WriteAsync(
            db => Task.FromResult(db.Namespaces.Add(NewNamespace($"n{i}"))), CancellationToken.None))));
        Assert.Equal(100, await _database.ReadAsync(db => db.Namespaces.CountAsync(), CancellationToken.None));
    }

    [Fact]
    public async Task Names_are_in_the_order_of_their_bytes()
    {
        await _database.WriteAsync(
            db =>
            {
                db.Namespaces.AddRange(NewNamespace("b-1"), NewNamespace("b1"), NewNamespace("b-2"), NewNamespace("B"));
                return Task.CompletedTask;
            },
            CancellationToken.None);
        Assert.Equal(
            ["B", "b-1", "b-2", "b1"],
            await _database.ReadAsync(db => db.Namespaces.Select(n => n.Name).OrderBy(n => n).ToListAsync(), CancellationToken.None));
        Assert.Equal(
            ["b1"],
            await _database.ReadAsync(db => db.Namespaces.Select(n => n.Name).Where(n => string.Compare(n, "b-2") > 0).ToListAsync(), CancellationToken.None));
    }

    [Fact]
    public async Task Of_two_who_change_one_machine_the_second_decides_on_what_the_first_left()
    {
        await AddMachineAsync("m1");
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => _database.WriteAsync(
            async db =>
            {
                var row = await db.Machines.SingleAsync(m => m.Id == "m1");
                row.Generation++;
            },
            CancellationToken.None))));
        Assert.Equal(5, await _database.ReadAsync(db => db.Machines.Select(m => m.Generation).SingleAsync(), CancellationToken.None));
    }

    [Fact]
    public async Task An_app_that_is_deleted_takes_no_machine_with_it_that_came_at_the_same_moment()
    {
        for (var round = 0; round < 20; round++)
        {
            await _database.WriteAsync(
                async db =>
                {
                    if (round == 0)
                        db.Namespaces.Add(NewNamespace("default"));
                    await db.SaveChangesAsync();
                    db.Apps.Add(new AppRow { Id = $"app{round}", Namespace = "default", Name = $"web{round}", CreatedAt = DateTimeOffset.UnixEpoch });
                },
                CancellationToken.None);
            var deleting = Task.Run(() => new AppStore(_database, TimeProvider.System).DeleteAsync("default", $"web{round}", CancellationToken.None));
            var adding = Task.Run(() => _database.WriteAsync(
                async db =>
                {
                    if (await db.Apps.AnyAsync(a => a.Id == $"app{round}"))
                        db.Machines.Add(NewMachine($"m{round}", $"app{round}"));
                },
                CancellationToken.None));
            var refusal = await Record.ExceptionAsync(() => deleting);
            await adding;
            Assert.True(refusal is null or ProblemException { Code: ProblemCodes.AppNotEmpty }, refusal?.ToString());
            var (app, machine) = await _database.ReadAsync(
                async db => (await db.Apps.AnyAsync(a => a.Id == $"app{round}"), await db.Machines.AnyAsync(m => m.Id == $"m{round}")), CancellationToken.None);
            Assert.Equal(app, machine);
        }
    }

    private protected abstract Task<Database> OpenAsync();

    private protected static NamespaceRow NewNamespace(string name) => new() { Name = name, CreatedAt = DateTimeOffset.UnixEpoch };

    private protected static MachineRow NewMachine(string id, string app) => new()
    {
        Id = id,
        AppId = app,
        Namespace = "default",
        Name = id,
        LiveName = id,
        Config = "{}",
        CreatedAt = DateTimeOffset.UnixEpoch,
        UpdatedAt = DateTimeOffset.UnixEpoch,
        Desired = DesiredState.Started,
        Generation = 1,
        NodeId = "node",
    };

    private protected static MachineEventRow NewEvent(string machine) => new()
    {
        MachineId = machine,
        Type = "update",
        Status = MachineStates.Started,
        Source = "user",
        At = DateTimeOffset.UnixEpoch,
    };

    private protected Task AddMachineAsync(string id) => _database.WriteAsync(
        async db =>
        {
            db.Namespaces.Add(NewNamespace("default"));
            db.Apps.Add(new AppRow { Id = "app", Namespace = "default", Name = "web", CreatedAt = DateTimeOffset.UnixEpoch });
            await db.SaveChangesAsync();
            db.Machines.Add(NewMachine(id, "app"));
        },
        CancellationToken.None);
}

public sealed class SqliteDatabaseTests : DatabaseTests
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-database-").FullName;
    private readonly List<SqliteDatabase> _opened = [];

    private protected override ServerDbContext DesignTime => new SqliteDesignTimeFactory().CreateDbContext([]);

    public override ValueTask DisposeAsync()
    {
        _opened.ForEach(database => database.Dispose());
        SqliteConnection.ClearAllPools();
        Directory.Delete(_directory, recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task Commits_survive_a_power_cut_and_readers_do_not_wait()
    {
        var (journal, synchronous, foreignKeys) = await Database.ReadAsync(
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
    public async Task A_server_that_was_killed_while_it_migrated_does_not_hold_up_the_next()
    {
        await Database.WriteAsync(
            db => db.Database.ExecuteSqlRawAsync(
                """
                CREATE TABLE IF NOT EXISTS "__EFMigrationsLock" ("Id" INTEGER NOT NULL CONSTRAINT "PK___EFMigrationsLock" PRIMARY KEY, "Timestamp" TEXT NOT NULL);
                INSERT INTO "__EFMigrationsLock" VALUES (1, '2026-01-01');
                """),
            CancellationToken.None);
        await Database.MigrateAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(60));
    }

    private static async Task<string?> PragmaAsync(DbContext db, string name)
    {
        await using var command = db.Database.GetDbConnection().CreateCommand();
        command.CommandText = $"PRAGMA {name}";
        return (await command.ExecuteScalarAsync())?.ToString();
    }

    private protected override async Task<Database> OpenAsync()
    {
        var database = new SqliteDatabase(Path.Combine(_directory, "server.db"), NullLoggerFactory.Instance);
        _opened.Add(database);
        await database.MigrateAsync(CancellationToken.None);
        return database;
    }
}

public sealed class PostgresDatabaseTests : DatabaseTests
{
    private readonly List<PostgresDatabase> _opened = [];
    private DatabaseAddress? _address;

    private protected override ServerDbContext DesignTime => new PostgresDesignTimeFactory().CreateDbContext([]);

    public override async ValueTask DisposeAsync()
    {
        foreach (var database in _opened)
            await database.DisposeAsync();
    }

    [Fact]
    public async Task Servers_that_start_together_make_one_schema()
    {
        var address = await (await PostgresServer.SharedAsync()).CreateDatabaseAsync();
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(async () =>
        {
            await using var database = new PostgresDatabase(address.Postgres!, NullLoggerFactory.Instance);
            await database.MigrateAsync(CancellationToken.None);
        })));
    }

    [Fact]
    public async Task Who_reads_events_by_number_misses_none_that_commits_late()
    {
        await AddMachineAsync("m1");
        var hasNumber = new TaskCompletionSource();
        var mayCommit = new TaskCompletionSource();
        var late = Database.WriteAsync(
            async db =>
            {
                db.MachineEvents.Add(NewEvent("m1"));
                await db.SaveChangesAsync();
                hasNumber.SetResult();
                await mayCommit.Task;
            },
            CancellationToken.None);
        await hasNumber.Task;
        await Database.WriteAsync(db => Task.FromResult(db.MachineEvents.Add(NewEvent("m1"))), CancellationToken.None);
        Assert.Equal([2], await NumbersAsync(db => db.MachineEvents));
        Assert.Empty(await NumbersAsync(db => db.SettledEvents));
        mayCommit.SetResult();
        await late;
        // Transactions of other tests' databases count as well.
        var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60)).Token;
        List<long> settled;
        while ((settled = await NumbersAsync(db => db.SettledEvents)).Count < 2)
            deadline.ThrowIfCancellationRequested();
        Assert.Equal([1, 2], settled);
    }

    [Fact]
    public async Task A_database_that_is_away_is_said_to_be_and_comes_back()
    {
        await using var server = await PostgresServer.StartAsync();
        var address = await server.CreateDatabaseAsync();
        await using var database = new PostgresDatabase(address.Postgres!, NullLoggerFactory.Instance);
        await database.MigrateAsync(CancellationToken.None);
        await server.KillAsync();
        var read = await Assert.ThrowsAsync<ProblemException>(() => database.ReadAsync(db => db.Namespaces.CountAsync(), CancellationToken.None));
        var write = await Assert.ThrowsAsync<ProblemException>(() => database.WriteAsync(
            db => Task.FromResult(db.Namespaces.Add(NewNamespace("n"))), CancellationToken.None));
        Assert.Equal((ProblemCodes.DatabaseUnavailable, ProblemCodes.DatabaseUnavailable), (read.Code, write.Code));
        Assert.DoesNotContain("Password", read.Message + write.Message, StringComparison.OrdinalIgnoreCase);
        await server.StartAgainAsync();
        await database.WriteAsync(db => Task.FromResult(db.Namespaces.Add(NewNamespace("n"))), CancellationToken.None);
        Assert.Equal(1, await database.ReadAsync(db => db.Namespaces.CountAsync(), CancellationToken.None));
    }

    private Task<List<long>> NumbersAsync(Func<ServerDbContext, IQueryable<MachineEventRow>> events) =>
        Database.ReadAsync(db => events(db).OrderBy(e => e.Sequence).Select(e => e.Sequence).ToListAsync(), CancellationToken.None);

    private protected override async Task<Database> OpenAsync()
    {
        _address ??= await (await PostgresServer.SharedAsync()).CreateDatabaseAsync();
        var database = new PostgresDatabase(_address.Postgres!, NullLoggerFactory.Instance);
        _opened.Add(database);
        await database.MigrateAsync(CancellationToken.None);
        return database;
    }
}
