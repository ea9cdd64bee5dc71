using Ravel.Linux.Cgroups;

namespace Ravel.Vmm.Processes;

/// <summary>What a VMM takes beside its guest.</summary>
/// <param name="MemoryMib">Generous: reaching it kills the VM.</param>
/// <param name="Cpus">CPU time per wall time of its own threads.</param>
internal sealed record VmmOverhead(int MemoryMib, double Cpus);

/// <summary>The control group's part in a VM's limits; pure.</summary>
internal static class GroupLimits
{
    /// <summary>The host reads ahead of what a guest asks for.</summary>
    private const int ReadAhead = 2;

    /// <summary>A VMM's own program comes from the same disk: when the host has dropped its pages, they must not wait behind what the guest read.</summary>
    private const long OwnBytesPerSecond = 32L << 20;

    private const long OwnOperationsPerSecond = 1_000;

    /// <summary>What can change while the VM runs.</summary>
    public static CgroupLimits Of(VmLimits limits, LaunchMark mark) => new(
        Cpus: limits.Cpus ?? mark.CpuCeiling,
        CpuWeight: limits.CpuWeight,
        Reads: Reads(limits.Disk, mark.Disks ?? []));

    /// <summary>A VMM that does not keep to its own throttle meets this one. A disk that holds several drives gives what all of them may have.</summary>
    private static IReadOnlyList<DeviceReads> Reads(RateLimit? each, IReadOnlyList<string> disks) =>
        [.. disks.GroupBy(disk => disk, StringComparer.Ordinal).Select(drives => new DeviceReads(
            drives.Key,
            Of(each?.BytesPerSecond ?? 0, drives.Count(), OwnBytesPerSecond),
            Of(each?.OperationsPerSecond ?? 0, drives.Count(), OwnOperationsPerSecond)))];

    /// <summary>0 is no limit.</summary>
    private static long Of(long value, int drives, long own) => value switch
    {
        0 => 0,
        _ when value > (long.MaxValue - own) / (drives * ReadAhead) => long.MaxValue,
        _ => (value * drives * ReadAhead) + own,
    };
}
