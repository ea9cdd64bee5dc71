using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Placement;

/// <summary>What a machine needs, or what a node has: whole CPUs, MiB of memory, MiB of disk, slots for machines.</summary>
internal readonly record struct ResourceAmounts(long Cpus, long MemoryMib, long DiskMib, long Machines)
{
    public static ResourceAmounts Of(Rpc.Resources? resources) => resources is null
        ? default
        : new(resources.Cpus, Bounded(resources.MemoryMib), Bounded(resources.DiskMib), resources.Machines);

    public bool Covers(in ResourceAmounts wanted) =>
        Cpus >= wanted.Cpus && MemoryMib >= wanted.MemoryMib && DiskMib >= wanted.DiskMib && Machines >= wanted.Machines;

    public static ResourceAmounts Max(in ResourceAmounts a, in ResourceAmounts b) => new(
        Math.Max(a.Cpus, b.Cpus), Math.Max(a.MemoryMib, b.MemoryMib), Math.Max(a.DiskMib, b.DiskMib), Math.Max(a.Machines, b.Machines));

    public static ResourceAmounts operator +(in ResourceAmounts a, in ResourceAmounts b) =>
        new(a.Cpus + b.Cpus, a.MemoryMib + b.MemoryMib, a.DiskMib + b.DiskMib, a.Machines + b.Machines);

    public static ResourceAmounts operator -(in ResourceAmounts a, in ResourceAmounts b) =>
        new(a.Cpus - b.Cpus, a.MemoryMib - b.MemoryMib, a.DiskMib - b.DiskMib, a.Machines - b.Machines);

    /// <summary>A node says what it likes; sums of some thousand such numbers must stay numbers.</summary>
    private static long Bounded(ulong value) => (long)Math.Min(value, 1UL << 48);
}
