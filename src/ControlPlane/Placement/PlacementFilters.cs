using System.Collections.Frozen;

namespace Ravel.ControlPlane.Placement;

/// <summary>What rules a node out. Pure; the only place that decides it.</summary>
internal static class PlacementFilters
{
    /// <summary>The first reason against a node, in the order of <see cref="RefusalReason"/>.</summary>
    public static RefusalReason Judge(PlacementRequest request, IndexedNode node)
    {
        var view = node.View;
        if (request.NodeId is not null && request.NodeId != view.Id)
            return RefusalReason.OtherNode;
        var reason = Judge(request, view.Region, view.Architecture, view.Features);
        if (reason != RefusalReason.None)
            return reason;
        foreach (var constraint in request.Constraints)
        {
            if (!constraint.Holds(view.Labels))
                return RefusalReason.Label;
        }
        return view.Condition switch
        {
            NodeCondition.Cordoned => RefusalReason.Cordoned,
            NodeCondition.Draining => RefusalReason.Draining,
            NodeCondition.Unreachable => RefusalReason.Unreachable,
            _ => JudgeRoom(request.Wanted, node.Free),
        };
    }

    /// <summary>What the nodes of one pool have in common.</summary>
    public static RefusalReason Judge(PlacementRequest request, string region, string architecture, FrozenSet<string> features)
    {
        if (request.RequireRegion && request.RankOf(region) == request.Regions.Count)
            return RefusalReason.Region;
        if (request.Architecture is not null && request.Architecture != architecture)
            return RefusalReason.Architecture;
        foreach (var feature in request.Features)
        {
            if (!features.Contains(feature))
                return RefusalReason.Feature;
        }
        return RefusalReason.None;
    }

    private static RefusalReason JudgeRoom(in ResourceAmounts wanted, in ResourceAmounts free)
    {
        if (wanted.Machines > free.Machines)
            return RefusalReason.Machines;
        if (wanted.Cpus > free.Cpus)
            return RefusalReason.Cpus;
        if (wanted.MemoryMib > free.MemoryMib)
            return RefusalReason.Memory;
        return wanted.DiskMib > free.DiskMib ? RefusalReason.Disk : RefusalReason.None;
    }
}
