using System.Text.Json;
using Google.Protobuf;
using Ravel.Agent.Instances;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable.Workflows;

namespace Ravel.Agent.Journal;

/// <summary>Machine records as rows of <c>machines</c> and <c>instances</c>.</summary>
internal static class MachineRows
{
    public static void Save(JournalStatements statements, MachineRecord machine)
    {
        // Not INSERT OR REPLACE: that deletes first, and the instance with it.
        statements.Execute(
            """
            INSERT INTO machines (id, generation, desired, force, spec, observed_generation, address_index, network_index,
                disk_image, disk_mib, restarts, short_lives, changed_at, moved)
            VALUES ($p0, $p1, $p2, $p3, $p4, $p5, $p6, $p7, $p8, $p9, $p10, $p11, $p12, $p13)
            ON CONFLICT (id) DO UPDATE SET generation = $p1, desired = $p2, force = $p3, spec = $p4, observed_generation = $p5,
                address_index = $p6, network_index = $p7, disk_image = $p8, disk_mib = $p9, restarts = $p10, short_lives = $p11,
                changed_at = $p12, moved = $p13
            """,
            machine.Id.Value,
            (long)machine.Generation,
            (int)machine.Desired,
            machine.Force,
            machine.Spec.ToByteArray(),
            (long)machine.ObservedGeneration,
            machine.AddressIndex,
            machine.NetworkIndex,
            machine.Disk?.ImageDigest,
            machine.Disk?.Mib,
            machine.Restarts,
            machine.ShortLives,
            JournalTime.Of(machine.ChangedAt),
            machine.IsMoved);
        if (machine.Instance is { } instance)
            Save(statements, machine.Id, instance);
    }

    public static IReadOnlyList<MachineRecord> ReadAll(JournalStatements statements)
    {
        var instances = ReadInstances(statements);
        var machines = new List<MachineRecord>();
        using var reader = statements.Query(
            """
            SELECT id, generation, desired, force, spec, observed_generation, address_index, network_index, disk_image, disk_mib,
                restarts, short_lives, changed_at, moved
            FROM machines ORDER BY id
            """);
        while (reader.Read())
        {
            machines.Add(new MachineRecord
            {
                Id = MachineId.Parse(reader.GetString(0)),
                Generation = (ulong)reader.GetInt64(1),
                Desired = (DesiredState)reader.GetInt32(2),
                Force = reader.GetBoolean(3),
                Spec = MachineSpec.Parser.ParseFrom(reader.GetFieldValue<byte[]>(4)),
                ObservedGeneration = (ulong)reader.GetInt64(5),
                AddressIndex = reader.GetInt32(6),
                NetworkIndex = reader.GetInt32(7),
                Disk = reader.IsDBNull(8) ? null : new DiskRecord(reader.GetString(8), reader.GetInt64(9)),
                Restarts = (uint)reader.GetInt64(10),
                ShortLives = reader.GetInt32(11),
                ChangedAt = JournalTime.From(reader.GetInt64(12)),
                IsMoved = reader.GetBoolean(13),
                Instance = instances.GetValueOrDefault(reader.GetString(0)),
            });
        }
        return machines;
    }

    private static void Save(JournalStatements statements, MachineId machine, InstanceRecord instance) => statements.Execute(
        """
        INSERT OR REPLACE INTO instances (machine, id, state, generation, spec, direction, step, facts, started_at, deadline,
            stop_requested, interrupted, exit, problem_code, problem_message)
        VALUES ($p0, $p1, $p2, $p3, $p4, $p5, $p6, $p7, $p8, $p9, $p10, $p11, $p12, $p13, $p14)
        """,
        machine.Value,
        instance.Id.ToString(),
        instance.State.ToString(),
        (long)instance.Generation,
        instance.Spec.ToByteArray(),
        instance.Position?.Direction.ToString(),
        instance.Position?.Step,
        JsonSerializer.Serialize(instance.Facts, JournalJson.Default.StartFacts),
        JournalTime.Of(instance.StartedAt),
        JournalTime.Of(instance.Deadline),
        instance.IsStopRequested,
        instance.IsInterrupted,
        instance.Exit is null ? null : JsonSerializer.Serialize(instance.Exit, JournalJson.Default.InstanceExit),
        instance.Problem?.Code,
        instance.Problem?.Message);

    private static Dictionary<string, InstanceRecord> ReadInstances(JournalStatements statements)
    {
        var instances = new Dictionary<string, InstanceRecord>();
        using var reader = statements.Query(
            """
            SELECT machine, id, state, generation, spec, direction, step, facts, started_at, deadline, stop_requested, interrupted,
                exit, problem_code, problem_message
            FROM instances
            """);
        while (reader.Read())
        {
            instances.Add(reader.GetString(0), new InstanceRecord
            {
                Id = InstanceId.Parse(reader.GetString(1)),
                State = Enum.Parse<InstanceState>(reader.GetString(2)),
                Generation = (ulong)reader.GetInt64(3),
                Spec = MachineSpec.Parser.ParseFrom(reader.GetFieldValue<byte[]>(4)),
                Position = reader.IsDBNull(5)
                    ? null
                    : new WorkflowPosition(Enum.Parse<WorkflowDirection>(reader.GetString(5)), reader.GetString(6)),
                Facts = JsonSerializer.Deserialize(reader.GetString(7), JournalJson.Default.StartFacts)!,
                StartedAt = reader.IsDBNull(8) ? null : JournalTime.From(reader.GetInt64(8)),
                Deadline = reader.IsDBNull(9) ? null : JournalTime.From(reader.GetInt64(9)),
                IsStopRequested = reader.GetBoolean(10),
                IsInterrupted = reader.GetBoolean(11),
                Exit = reader.IsDBNull(12) ? null : JsonSerializer.Deserialize(reader.GetString(12), JournalJson.Default.InstanceExit),
                Problem = reader.IsDBNull(13) ? null : new InstanceProblem(reader.GetString(13), reader.GetString(14)),
            });
        }
        return instances;
    }
}

/// <summary>Times as the journal stores them.</summary>
internal static class JournalTime
{
    public static long Of(DateTimeOffset time) => time.UtcTicks - DateTimeOffset.UnixEpoch.UtcTicks;

    public static long? Of(DateTimeOffset? time) => time is { } t ? Of(t) : null;

    public static DateTimeOffset From(long ticks) => DateTimeOffset.UnixEpoch.AddTicks(ticks);
}
