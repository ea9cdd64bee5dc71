using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging.Abstractions;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;
using Ravel.ControlPlane.Storage.Postgres;
using Ravel.ControlPlane.Storage.Sqlite;

namespace Ravel.ControlPlane.Administration;

/// <summary>
/// What an administrator does to the server's database from outside. A backup is a SQLite file with the server's own schema, whatever
/// engine it was made of, so one way of copying serves backup, restore and moving to another engine.
/// </summary>
public static class DatabaseAdministration
{
    /// <summary>Writes a consistent copy; servers may work on meanwhile.</summary>
    /// <param name="database">What is copied.</param>
    /// <param name="file">A new file; readable by its owner only, because the hashes of tokens and the cluster's authority are in it.</param>
    /// <param name="progress">Told of each table.</param>
    /// <param name="cancellationToken">Leaves no whole file.</param>
    /// <exception cref="AdministrationException">Nothing was made of it; says why.</exception>
    public static Task BackUpAsync(DatabaseAddress database, string file, Action<string> progress, CancellationToken cancellationToken) =>
        ExplainAsync($"{database.Shown} could not be backed up", async () =>
        {
            if (database.Postgres is not { } connection)
            {
                if (!File.Exists(database.File))
                    throw new AdministrationException($"There is no database at {database.Shown}; give its directory with --data, or --database.");
                MakeOwn(file);
                HeldSqlite.CopyOnline(database.File!, file);
                return;
            }
            await using var source = new PostgresDatabase(connection, NullLoggerFactory.Instance);
            await using var from = await source.OpenContextAsync(cancellationToken);
            await CheckVersionAsync(from, isNew: false, cancellationToken);
            MakeOwn(file);
            await using var held = HeldSqlite.Open(file);
            await held.MigrateAsync(cancellationToken);
            await using var to = held.CreateContext();
            await new DatabaseCopy(from, to, progress).RunAsync(replaces: false, cancellationToken);
        });

    /// <summary>Puts a backup, of this version or an older one, in the place of what a database has.</summary>
    /// <param name="file">The backup; it is not changed.</param>
    /// <param name="database">No server may work on it.</param>
    /// <param name="replaces">Whether what it has may be lost; otherwise it must be empty.</param>
    /// <param name="progress">Told of each table.</param>
    /// <param name="cancellationToken">Leaves the database as it was.</param>
    /// <exception cref="AdministrationException">The database is as it was; says why.</exception>
    public static Task RestoreAsync(string file, DatabaseAddress database, bool replaces, Action<string> progress, CancellationToken cancellationToken) =>
        ExplainAsync($"{file} could not be restored", async () =>
        {
            if (!File.Exists(file))
                throw new AdministrationException($"There is no file {file}.");
            // Brought up to date in a copy: the backup stays what it is.
            var directory = Directory.CreateTempSubdirectory("ravel-restore-");
            try
            {
                var copy = Path.Combine(directory.FullName, "backup.db");
                MakeOwn(copy);
                HeldSqlite.CopyOnline(file, copy);
                await using var source = HeldSqlite.Open(copy);
                await using (var found = source.CreateContext())
                    await CheckVersionAsync(found, isNew: false, cancellationToken);
                source.CheckIntegrity();
                await CopyAsync(source, database, replaces, progress, cancellationToken);
            }
            finally
            {
                directory.Delete(recursive: true);
            }
        });

    /// <summary>Copies everything into another, empty database; what it was copied from stays.</summary>
    /// <exception cref="AdministrationException">The target is as it was; says why.</exception>
    public static Task MoveAsync(DatabaseAddress from, DatabaseAddress to, Action<string> progress, CancellationToken cancellationToken) =>
        ExplainAsync($"{from.Shown} could not be moved", async () =>
        {
            if (from.File is { } file && !File.Exists(file))
                throw new AdministrationException($"There is no database at {from.Shown}; give it with --from.");
            if (from == to)
                throw new AdministrationException("--from and --to are the same database.");
            await using var source = await HeldDatabase.OpenAsync(from, cancellationToken);
            await using (var found = source.CreateContext())
                await CheckVersionAsync(found, isNew: false, cancellationToken);
            await CopyAsync(source, to, replaces: false, progress, cancellationToken);
        });

    private static async Task CopyAsync(
        HeldDatabase source, DatabaseAddress database, bool replaces, Action<string> progress, CancellationToken cancellationToken)
    {
        await source.MigrateAsync(cancellationToken);
        await using var target = await HeldDatabase.OpenAsync(database, cancellationToken);
        await using (var found = target.CreateContext())
            await CheckVersionAsync(found, isNew: true, cancellationToken);
        await target.MigrateAsync(cancellationToken);
        await using var from = source.CreateContext();
        await using var to = target.CreateContext();
        try
        {
            await new DatabaseCopy(from, to, progress).RunAsync(replaces, cancellationToken);
        }
        catch (AdministrationException e)
        {
            throw new AdministrationException($"{target.Shown}: {e.Message}", e);
        }
    }

    /// <summary>That it is Ravel's, and not of a version to come.</summary>
    private static async Task CheckVersionAsync(ServerDbContext context, bool isNew, CancellationToken cancellationToken)
    {
        var applied = (await context.Database.GetAppliedMigrationsAsync(cancellationToken)).ToList();
        if (applied.Count == 0 && !isNew)
            throw new AdministrationException("It is no database of a Ravel server.");
        if (applied.Except(context.Database.GetMigrations()).Any())
            throw new AdministrationException("It was written by a newer Ravel; use that version's raveld.");
    }

    /// <summary>An empty file is an empty SQLite database; made first, so that it is never anybody else's to read.</summary>
    private static void MakeOwn(string file)
    {
        using var made = new FileStream(file, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
    }

    private static async Task ExplainAsync(string what, Func<Task> work)
    {
        try
        {
            await work();
        }
        catch (Exception e) when (e is DbException or DbUpdateException or ProblemException or IOException or UnauthorizedAccessException)
        {
            var cause = e as DbException ?? e.InnerException as DbException ?? e;
            throw new AdministrationException($"{what}: {cause.Message.ReplaceLineEndings(" ")}", e);
        }
    }
}
