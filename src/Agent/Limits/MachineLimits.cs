using Ravel.Agent.Machines;
using Ravel.Contracts.Node;
using Ravel.Vmm;

namespace Ravel.Agent.Limits;

/// <summary>What a machine may take of its node, as its specification says it and as the host is told it.</summary>
internal static class MachineLimits
{
    /// <summary>Below these a guest cannot be administered any more.</summary>
    private const ulong MinBytesPerSecond = 16 * 1024;

    private const ulong MinOperationsPerSecond = 10;

    /// <summary>What the packet filter and the kernel's token bucket count with 32 bits.</summary>
    private const ulong MaxBytesPerSecond = 4_000_000_000;

    private const ulong MaxOperationsPerSecond = 10_000_000;

    private const uint ThousandthsPerCpu = 1000;

    /// <summary>The least that the kernel's 0.1 s periods can give.</summary>
    private const uint MinThousandths = 10;

    /// <exception cref="Guests.InstanceException"><c>invalid-request</c>, naming the member.</exception>
    public static void Check(MachineSpec spec)
    {
        if (spec.Limits is not { } limits)
            return;
        SpecRules.Range("limits.cpu_weight", limits.CpuWeight, 0, VmLimits.MaxCpuWeight);
        if (limits.CpuThousandths != 0)
            SpecRules.Range("limits.cpu_thousandths", limits.CpuThousandths, MinThousandths, spec.Cpus * ThousandthsPerCpu);
        RangeOrNone("limits.disk_bytes_per_second", limits.DiskBytesPerSecond, MinBytesPerSecond, MaxBytesPerSecond);
        RangeOrNone("limits.disk_operations_per_second", limits.DiskOperationsPerSecond, MinOperationsPerSecond, MaxOperationsPerSecond);
        RangeOrNone("limits.network_bytes_per_second", limits.NetworkBytesPerSecond, MinBytesPerSecond, MaxBytesPerSecond);
    }

    public static VmLimits Of(MachineSpec spec)
    {
        var limits = spec.Limits ?? new ResourceLimits();
        return new VmLimits
        {
            CpuWeight = limits.CpuWeight == 0 ? DefaultWeight(spec) : (int)limits.CpuWeight,
            Cpus = limits.CpuThousandths == 0 ? null : (double)limits.CpuThousandths / ThousandthsPerCpu,
            Disk = limits is { DiskBytesPerSecond: 0, DiskOperationsPerSecond: 0 }
                ? null
                : new RateLimit((long)limits.DiskBytesPerSecond, (long)limits.DiskOperationsPerSecond),
            Network = NetworkBytesPerSecond(spec) is { } bytes ? new RateLimit(bytes) : null,
        };
    }

    /// <summary>In each direction; null = not limited.</summary>
    public static long? NetworkBytesPerSecond(MachineSpec spec) =>
        spec.Limits is { NetworkBytesPerSecond: > 0 } limits ? (long)limits.NetworkBytesPerSecond : null;

    /// <summary>Whether an instance of the one need not be replaced to be one of the other: what differs can be changed while it runs.</summary>
    public static bool DifferInNothingElse(MachineSpec one, MachineSpec other) => WithoutLimits(one).Equals(WithoutLimits(other));

    /// <summary>By size: of two machines, the one with twice the CPUs gets twice the time when there is not enough.</summary>
    private static int DefaultWeight(MachineSpec spec)
    {
        const int Each = 100;
        return Math.Min(VmLimits.MaxCpuWeight, (int)spec.Cpus * Each);
    }

    private static MachineSpec WithoutLimits(MachineSpec spec)
    {
        if (spec.Limits is null)
            return spec;
        var rest = spec.Clone();
        rest.Limits = null;
        return rest;
    }

    private static void RangeOrNone(string name, ulong value, ulong least, ulong most)
    {
        if (value != 0)
            SpecRules.Range(name, value, least, most);
    }
}
