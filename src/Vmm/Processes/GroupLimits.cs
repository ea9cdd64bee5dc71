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

    /// <summary>What can change while the VM runs.</summary>
    public static CgroupLimits Of(VmLimits limits, LaunchMark mark) => new(
        Cpus: limits.Cpus ?? mark.CpuCeiling,
        CpuWeight: limits.CpuWeight,
        Reads: Reads(limits.Disk, mark.Disks ?? []));

    /// <summary>A VMM that does not keep to its own throttle meets this one. A disk that holds several drives gives what all of them may have.</summary>
    private static IReadOnlyList<DeviceReads> Reads(RateLimit? each, IReadOnlyList<string> disks) =>
        [.. disks.GroupBy(disk => disk, StringComparer.Ordinal).Select(drives => new DeviceReads(
            drives.Key, Times(each?.BytesPerSecond ?? 0, drives.Count()), Times(each?.OperationsPerSecond ?? 0, drives.Count())))];

    private static long Times(long value, int drives) => value > long.MaxValue / (drives * ReadAhead) ? long.MaxValue : value * drives * ReadAhead;
}
