using System.Collections.Frozen;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Placement;

/// <summary>Whether a node takes new machines, and if not, why.</summary>
internal enum NodeCondition
{
    Ready,
    Cordoned,
    Draining,
    Unreachable,
}

/// <summary>
/// A node as the planner sees it: what it said of itself when it was last heard, and what its operator decided. It may be stale; the
/// node's own ledger has the last word.
/// </summary>
internal sealed record NodeView
{
    /// <summary>More images than this are not looked at: the view of a node must stay small.</summary>
    public const int MaxImages = 1024;

    public required string Id { get; init; }

    /// <summary>Empty: the operator has named none.</summary>
    public string Region { get; init; } = "";

    /// <summary>Part of a region that fails as one; the same name in two regions is two zones.</summary>
    public string Zone { get; init; } = "";

    public FrozenDictionary<string, string> Labels { get; init; } = FrozenDictionary<string, string>.Empty;

    /// <summary>As in OCI: <c>amd64</c>, <c>arm64</c>.</summary>
    public required string Architecture { get; init; }

    /// <summary>What its hypervisor can do, its name and accelerator among them (<c>qemu</c>, <c>kvm</c>).</summary>
    public FrozenSet<string> Features { get; init; } = FrozenSet<string>.Empty;

    public NodeCondition Condition { get; init; }

    public required ResourceAmounts Capacity { get; init; }

    public ResourceAmounts Allocated { get; init; }

    /// <summary>How often a CPU of <see cref="Capacity"/> may be given away, 1 where the node has counted that already.</summary>
    public double CpuOvercommit { get; init; } = 1;

    /// <summary>Digests of the images that are on the node, the first <see cref="MaxImages"/> of them.</summary>
    public FrozenSet<string> Images
    {
        get;
        init => field = value.Count <= MaxImages
            ? value
            : value.Order(StringComparer.Ordinal).Take(MaxImages).ToFrozenSet(StringComparer.Ordinal);
    } = FrozenSet<string>.Empty;

    /// <summary>How busy it is: 0 idle, 1 fully.</summary>
    public double Load { get; init; }

    /// <summary>How many machines of each app it holds, by the app's id.</summary>
    public FrozenDictionary<string, int> Apps { get; init; } = FrozenDictionary<string, int>.Empty;

    /// <summary>What can be given to machines, held or not.</summary>
    public ResourceAmounts Total => Capacity with { Cpus = (long)Math.Floor(Capacity.Cpus * CpuOvercommit) };

    /// <summary>A node that answers and that nobody has cordoned. Its CPUs are counted with its overcommit already.</summary>
    public static NodeView Of(Rpc.NodeInfo info) => new()
    {
        Id = info.NodeId,
        Architecture = info.Architecture,
        Features = FrozenSet.Create(StringComparer.Ordinal, info.Vmm, info.Accelerator),
        Capacity = ResourceAmounts.Of(info.Capacity),
        Allocated = ResourceAmounts.Of(info.Allocated),
    };
}
