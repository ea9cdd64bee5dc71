namespace Ravel.ControlPlane.Placement;

/// <summary>
/// Decides which nodes to ask for room, and in which order. Pure: what comes out depends on the nodes in the index, the request and the seed
/// alone, and the index is as it was afterwards. Servers that plan at once use different seeds and so seldom ask for the same room.
/// </summary>
internal static class PlacementPlanner
{
    /// <summary>Nodes to ask for one machine. If so many refuse, the view is old and a new one is worth more than a longer list.</summary>
    public const int MaxCandidates = 5;

    /// <param name="index">What is known of the nodes.</param>
    /// <param name="request">What each machine needs.</param>
    /// <param name="count">How many machines, at least 1.</param>
    /// <param name="seed">Breaks ties and chooses samples.</param>
    public static PlacementPlan Plan(PlacementIndex index, PlacementRequest request, int count, ulong seed)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        var machines = new List<IReadOnlyList<string>>();
        var debited = 0;
        try
        {
            for (var i = 0; i < count; i++)
            {
                var best = new CandidateSearch(index, request, SeededDraws.SeedOf(seed, i)).Best(MaxCandidates);
                if (best.Count == 0)
                    return new PlacementPlan(machines, Explain(index, request));
                machines.Add(best);
                if (i + 1 == count)
                    break;
                index.Debit(best[0], request.Wanted, request.AppId);
                debited++;
            }
            return new PlacementPlan(machines, null);
        }
        finally
        {
            for (var i = 0; i < debited; i++)
                index.Credit(machines[i][0], request.Wanted, request.AppId);
        }
    }

    /// <summary>The first reason against every node.</summary>
    private static PlacementRefusal Explain(PlacementIndex index, PlacementRequest request)
    {
        var refusal = new PlacementRefusal(request);
        foreach (var node in index.Nodes)
            refusal.Add(PlacementFilters.Judge(request, node), node.Free);
        return refusal;
    }
}
