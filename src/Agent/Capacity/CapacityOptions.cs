namespace Ravel.Agent.Capacity;

/// <summary>How much of the host machines may be promised.</summary>
public sealed record CapacityOptions
{
    public const double DefaultCpuOvercommit = 8;

    /// <summary>Virtual CPUs per CPU of the host; workloads rarely use all of theirs at once.</summary>
    public double CpuOvercommit { get; init; } = DefaultCpuOvercommit;

    /// <summary>MiB of memory left to the host itself.</summary>
    public long ReservedMemoryMib { get; init; } = 512;

    /// <summary>Machines known to the node at once, running or not.</summary>
    public int MaxMachines { get; init; } = 4096;

    /// <summary>
    /// MiB promised per MiB of disk there is. At 1 whoever was promised room finds it, whatever the others do; above it disks that are rarely full
    /// share what there is, and a host that is full stops those that write. At least 1.
    /// </summary>
    public double DiskOvercommit { get; init; } = 1;

    /// <summary>MiB of disk kept free for journal and database; null: 1 GiB, but no more than a twentieth of the disk.</summary>
    public long? ReservedDiskMib { get; init; }
}
