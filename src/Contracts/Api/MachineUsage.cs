using Ravel.Contracts.Ids;

namespace Ravel.Contracts.Api;

/// <summary>
/// What a machine has used (Ravel's addition). Counters are those of the instance that runs, since it was launched: they begin anew with every
/// start. A rate is the difference of two readings over that of their <c>At</c>.
/// </summary>
public sealed record MachineUsage
{
    public required MachineId Id { get; init; }
    public required string Name { get; init; }
    public required string App { get; init; }

    /// <summary>Whose counters these are; null when none runs, and then <c>Cpu</c>, <c>Memory</c> and the counters are null too.</summary>
    public string? InstanceId { get; init; }

    /// <summary>When it was read.</summary>
    public required DateTimeOffset At { get; init; }
    public CpuUsage? Cpu { get; init; }
    public MemoryUsage? Memory { get; init; }

    /// <summary>All disks and volumes together. Null also when the VMM does not answer.</summary>
    public DiskCounters? DiskIo { get; init; }
    public NetworkCounters? Network { get; init; }

    /// <summary>The writable disk, volumes left out.</summary>
    public required StorageUsage Disk { get; init; }

    /// <summary>Bytes of its log.</summary>
    public required long LogBytes { get; init; }
}

/// <param name="Seconds">CPU time of the whole VM.</param>
/// <param name="Limit">Its ceiling in CPUs, or its virtual CPUs.</param>
public sealed record CpuUsage(double Seconds, double Limit);

/// <param name="Bytes">Resident on the host: the guest's memory that was ever used and not given back, and the VMM's. What machines share counts for each.</param>
/// <param name="LimitBytes">The guest's memory.</param>
public sealed record MemoryUsage(long Bytes, long LimitBytes);

public sealed record DiskCounters(long ReadBytes, long WrittenBytes, long Reads, long Writes);

/// <summary>As the machine sees it.</summary>
public sealed record NetworkCounters(long ReceivedBytes, long ReceivedPackets, long SentBytes, long SentPackets);

/// <param name="Bytes">What it takes of the node's disk.</param>
/// <param name="LimitBytes">Its size.</param>
public sealed record StorageUsage(long Bytes, long LimitBytes);
