using System.Collections.Frozen;

namespace Ravel.ControlPlane.Placement;

/// <summary>What nodes of one pool have in common: everything that filters look at but labels and amounts.</summary>
/// <param name="Zone">With its region.</param>
/// <param name="Architecture">As in OCI.</param>
/// <param name="Features">In order, joined: what is compared.</param>
/// <param name="IsEmpty">No machine is on them.</param>
internal readonly record struct PoolKey(ZoneKey Zone, string Architecture, string Features, bool IsEmpty) : IComparable<PoolKey>
{
    public static PoolKey Of(IndexedNode node) =>
        new(node.ZoneKey, node.View.Architecture, node.Features, node.IsEmpty);

    public int CompareTo(PoolKey other)
    {
        var order = string.CompareOrdinal(Zone.Region, other.Zone.Region);
        if (order == 0)
            order = string.CompareOrdinal(Zone.Zone, other.Zone.Zone);
        if (order == 0)
            order = string.CompareOrdinal(Architecture, other.Architecture);
        if (order == 0)
            order = string.CompareOrdinal(Features, other.Features);
        return order == 0 ? IsEmpty.CompareTo(other.IsEmpty) : order;
    }
}

/// <summary>Nodes that take machines and differ only in labels and in what is free.</summary>
internal sealed class NodePool(PoolKey key, FrozenSet<string> features)
{
    public PoolKey Key { get; } = key;

    public FrozenSet<string> Features { get; } = features;

    public NodeTree Nodes { get; } = new();
}
