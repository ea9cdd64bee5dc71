using Microsoft.Data.Sqlite;

namespace Ravel.Agent.Journal;

/// <summary>The journal's tables. A version is never changed once released: a new one is added, and applied when a journal is opened.</summary>
internal static class JournalSchema
{
    private static readonly string[] Versions =
    [
        """
        CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

        -- Times are ticks of 100 ns since the Unix epoch. spec: MachineSpec as protocol buffer bytes.
        CREATE TABLE machines (
            id TEXT PRIMARY KEY,
            generation INTEGER NOT NULL,
            desired INTEGER NOT NULL,
            force INTEGER NOT NULL,
            spec BLOB NOT NULL,
            observed_generation INTEGER NOT NULL,
            address_index INTEGER NOT NULL UNIQUE,
            network_index INTEGER NOT NULL,
            disk_image TEXT,
            disk_mib INTEGER,
            restarts INTEGER NOT NULL,
            short_lives INTEGER NOT NULL,
            changed_at INTEGER NOT NULL
        ) WITHOUT ROWID;

        -- The current or last instance of each machine. facts, exit: JSON.
        CREATE TABLE instances (
            machine TEXT PRIMARY KEY REFERENCES machines (id) ON DELETE CASCADE,
            id TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            generation INTEGER NOT NULL,
            spec BLOB NOT NULL,
            direction TEXT,
            step TEXT,
            facts TEXT NOT NULL,
            started_at INTEGER,
            deadline INTEGER,
            stop_requested INTEGER NOT NULL,
            interrupted INTEGER NOT NULL,
            exit TEXT,
            problem_code TEXT,
            problem_message TEXT
        ) WITHOUT ROWID;

        -- The network index of each namespace that ever had a machine here.
        CREATE TABLE networks (number INTEGER PRIMARY KEY, namespace TEXT NOT NULL UNIQUE);

        CREATE TABLE reservations (
            id TEXT PRIMARY KEY,
            machine TEXT NOT NULL,
            generation INTEGER NOT NULL,
            cpus INTEGER NOT NULL,
            memory_mib INTEGER NOT NULL,
            disk_mib INTEGER NOT NULL,
            expires_at INTEGER NOT NULL
        ) WITHOUT ROWID;

        -- Destroyed machines, so that a late command does not bring one back. status: MachineStatus.
        CREATE TABLE forgotten (number INTEGER PRIMARY KEY AUTOINCREMENT, machine TEXT NOT NULL UNIQUE, status BLOB NOT NULL);

        -- event: NodeEvent. AUTOINCREMENT: a number is never given twice, also when the newest events were forgotten.
        CREATE TABLE outbox (sequence INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL);
        """,
        // Machines that end here because they went elsewhere.
        "ALTER TABLE machines ADD COLUMN moved INTEGER NOT NULL DEFAULT 0",
    ];

    /// <exception cref="JournalException">The journal was written by a newer Ravel.</exception>
    public static void Migrate(SqliteConnection connection, string path)
    {
        using var transaction = connection.BeginTransaction(deferred: false);
        var version = Convert.ToInt32(Scalar(connection, transaction, "PRAGMA user_version"), null);
        if (version > Versions.Length)
        {
            throw new JournalException(
                $"the journal {path} has version {version}, this raveld knows up to {Versions.Length}: a newer one wrote it; run that, or use another data directory");
        }
        for (; version < Versions.Length; version++)
            Scalar(connection, transaction, $"{Versions[version]}; PRAGMA user_version = {version + 1}");
        transaction.Commit();
    }

    private static object? Scalar(SqliteConnection connection, SqliteTransaction transaction, string text)
    {
        using var command = connection.CreateCommand();
        command.Transaction = transaction;
#pragma warning disable CA2100 // The texts are the constants above.
        command.CommandText = text;
#pragma warning restore CA2100
        return command.ExecuteScalar();
    }
}
