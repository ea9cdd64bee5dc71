namespace Ravel.Agent.Capacity;

/// <summary>A part of a node: whole virtual CPUs, memory and disk in MiB, machines.</summary>
internal readonly record struct NodeShare(int Cpus, long MemoryMib, long DiskMib, int Machines)
{
    public static NodeShare operator +(NodeShare a, NodeShare b) =>
        new(a.Cpus + b.Cpus, a.MemoryMib + b.MemoryMib, a.DiskMib + b.DiskMib, a.Machines + b.Machines);

    /// <summary>The larger of each.</summary>
    public static NodeShare Max(NodeShare a, NodeShare b) => new(
        Math.Max(a.Cpus, b.Cpus), Math.Max(a.MemoryMib, b.MemoryMib), Math.Max(a.DiskMib, b.DiskMib), Math.Max(a.Machines, b.Machines));

    public static NodeShare operator -(NodeShare a, NodeShare b) =>
        new(a.Cpus - b.Cpus, a.MemoryMib - b.MemoryMib, a.DiskMib - b.DiskMib, a.Machines - b.Machines);
}
