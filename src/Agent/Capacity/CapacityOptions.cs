namespace Ravel.Agent.Capacity;

/// <summary>How much of the host machines may be promised.</summary>
public sealed record CapacityOptions
{
    /// <summary>Virtual CPUs per CPU of the host; workloads rarely use all of theirs at once.</summary>
    public double CpuOvercommit { get; init; } = 8;

    /// <summary>MiB of memory left to the host itself.</summary>
    public long ReservedMemoryMib { get; init; } = 512;

    /// <summary>Machines known to the node at once, running or not.</summary>
    public int MaxMachines { get; init; } = 4096;

    /// <summary>
    /// MiB of writable disks promised per MiB free when the agent starts; disks are sparse and rarely full.
    /// </summary>
    public double DiskOvercommit { get; init; } = 4;
}
