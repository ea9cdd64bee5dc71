using Google.Protobuf;
using Ravel.Agent.Capacity;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable.Outboxes;

namespace Ravel.Agent.Journal;

/// <summary>Reads and writes the rows of a journal.</summary>
internal static class JournalRows
{
    /// <summary>Events kept for a server that does not fetch them; it finds the newest state by listing machines.</summary>
    internal const int MaxEvents = 100_000;

    /// <summary>Destroyed machines remembered.</summary>
    internal const int MaxForgotten = 10_000;

    public static void Write(JournalStatements statements, JournalChange change)
    {
        if (change.Save is { } machine)
            MachineRows.Save(statements, machine);
        if (change.Forget is { } status)
        {
            statements.Execute("DELETE FROM machines WHERE id = $p0", status.MachineId);
            statements.Execute("INSERT OR REPLACE INTO forgotten (machine, status) VALUES ($p0, $p1)", status.MachineId, status.ToByteArray());
            statements.Execute("DELETE FROM forgotten WHERE number <= (SELECT max(number) FROM forgotten) - $p0", MaxForgotten);
        }
        if (change.Recall is { } recalled)
            statements.Execute("DELETE FROM forgotten WHERE machine = $p0", recalled.Value);
        if (change.AddReservation is { } reservation)
        {
            statements.Execute(
                """
                INSERT INTO reservations (id, machine, generation, cpus, memory_mib, disk_mib, expires_at)
                VALUES ($p0, $p1, $p2, $p3, $p4, $p5, $p6)
                """,
                reservation.Id,
                reservation.Machine.Value,
                (long)reservation.Generation,
                reservation.Share.Cpus,
                reservation.Share.MemoryMib,
                reservation.Share.DiskMib,
                JournalTime.Of(reservation.ExpiresAt));
        }
        foreach (var id in change.RemoveReservations)
            statements.Execute("DELETE FROM reservations WHERE id = $p0", id);
        foreach (var e in change.Events)
            statements.Execute("INSERT INTO outbox (event) VALUES ($p0)", e.ToByteArray());
        if (change.Events.Count > 0)
            statements.Execute("DELETE FROM outbox WHERE sequence <= (SELECT max(sequence) FROM outbox) - $p0", MaxEvents);
    }

    public static JournalContents ReadAll(JournalStatements statements) =>
        new(MachineRows.ReadAll(statements), ReadNetworks(statements), ReadReservations(statements), ReadForgotten(statements));

    public static int NetworkIndex(JournalStatements statements, string @namespace)
    {
        statements.Execute("INSERT OR IGNORE INTO networks (namespace) VALUES ($p0)", @namespace);
        using var reader = statements.Query("SELECT number FROM networks WHERE namespace = $p0", @namespace);
        reader.Read();
        return reader.GetInt32(0);
    }

    public static string? ReadMeta(JournalStatements statements, string name)
    {
        using var reader = statements.Query("SELECT value FROM meta WHERE name = $p0", name);
        return reader.Read() ? reader.GetString(0) : null;
    }

    public static void WriteMeta(JournalStatements statements, string name, string value) =>
        statements.Execute("INSERT OR REPLACE INTO meta (name, value) VALUES ($p0, $p1)", name, value);

    public static IReadOnlyList<OutboxEntry<NodeEvent>> ReadEvents(JournalStatements statements, ulong after, int limit)
    {
        var events = new List<OutboxEntry<NodeEvent>>();
        using var reader = statements.Query(
            "SELECT sequence, event FROM outbox WHERE sequence > $p0 ORDER BY sequence LIMIT $p1", (long)after, limit);
        while (reader.Read())
        {
            var e = NodeEvent.Parser.ParseFrom(reader.GetFieldValue<byte[]>(1));
            e.Sequence = (ulong)reader.GetInt64(0);
            events.Add(new OutboxEntry<NodeEvent>(e.Sequence, e));
        }
        return events;
    }

    public static void ForgetEvents(JournalStatements statements, ulong upTo) =>
        statements.Execute("DELETE FROM outbox WHERE sequence <= $p0", (long)upTo);

    private static Dictionary<string, int> ReadNetworks(JournalStatements statements)
    {
        var networks = new Dictionary<string, int>();
        using var reader = statements.Query("SELECT namespace, number FROM networks");
        while (reader.Read())
            networks.Add(reader.GetString(0), reader.GetInt32(1));
        return networks;
    }

    private static Dictionary<MachineId, MachineStatus> ReadForgotten(JournalStatements statements)
    {
        var forgotten = new Dictionary<MachineId, MachineStatus>();
        using var reader = statements.Query("SELECT status FROM forgotten");
        while (reader.Read())
        {
            var status = MachineStatus.Parser.ParseFrom(reader.GetFieldValue<byte[]>(0));
            forgotten.Add(MachineId.Parse(status.MachineId), status);
        }
        return forgotten;
    }

    private static List<CapacityReservation> ReadReservations(JournalStatements statements)
    {
        var reservations = new List<CapacityReservation>();
        using var reader = statements.Query("SELECT id, machine, generation, cpus, memory_mib, disk_mib, expires_at FROM reservations");
        while (reader.Read())
        {
            reservations.Add(new CapacityReservation(
                reader.GetString(0),
                MachineId.Parse(reader.GetString(1)),
                (ulong)reader.GetInt64(2),
                new NodeShare(reader.GetInt32(3), reader.GetInt64(4), reader.GetInt64(5), 1),
                JournalTime.From(reader.GetInt64(6))));
        }
        return reservations;
    }
}
