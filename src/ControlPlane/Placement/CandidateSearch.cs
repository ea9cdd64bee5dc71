using System.Numerics;

namespace Ravel.ControlPlane.Placement;

/// <summary>
/// Finds the best nodes for one machine. Exact where it is cheap (one required node, few nodes with a wanted label, small zones), sampled
/// where many fit, and exact again before it says that nothing fits. One search per machine; it belongs to whoever holds the index.
/// </summary>
internal sealed class CandidateSearch
{
    /// <summary>Up to so many nodes with enough memory in a zone are all looked at.</summary>
    private const int SmallGroup = 64;

    /// <summary>Up to so many nodes with a wanted label are all looked at, and no others.</summary>
    private const int FewLabelled = 256;

    /// <summary>Of the nodes that have the image so many join the sample.</summary>
    private const int WithImage = 16;

    /// <summary>A sample with fewer nodes that fit is no choice: all of the group are looked at.</summary>
    private const int PoorSample = 4;

    private readonly PlacementIndex _index;
    private readonly PlacementRequest _request;
    private readonly IReadOnlyDictionary<ZoneKey, int> _zones;
    private readonly List<Candidate> _found = [];
    private readonly ulong _tieSeed;
    private readonly long _visit;
    private SeededDraws _draws;

    public CandidateSearch(PlacementIndex index, PlacementRequest request, ulong seed)
    {
        _index = index;
        _request = request;
        _zones = index.ZonesOf(request.AppId);
        _draws = new SeededDraws(seed);
        _tieSeed = _draws.Next();
        _visit = index.NewVisit();
    }

    /// <summary>At most so many nodes, best first; none only if none fits.</summary>
    public List<string> Best(int most)
    {
        if (_request.NodeId is not null)
        {
            if (_index.Find(_request.NodeId) is { } node)
                Consider(node);
        }
        else if (!ConsiderLabelled())
        {
            ConsiderSomeWithImage();
            SearchGroups(most);
            foreach (var failure in _request.Failures)
            {
                if (_index.Find(failure.NodeId) is { } node)
                    Consider(node);
            }
        }
        _found.Sort();
        return [.. _found.Take(most).Select(candidate => candidate.Node.View.Id)];
    }

    /// <summary>Where a constraint names a label that few nodes have, they are all there is to look at.</summary>
    private bool ConsiderLabelled()
    {
        LabelConstraint? rarest = null;
        var fewest = FewLabelled + 1;
        foreach (var constraint in _request.Constraints)
        {
            var count = constraint.Operator == LabelOperator.In
                ? constraint.Values.Sum(value => _index.WithLabel(constraint.Key, value)?.Count ?? 0)
                : int.MaxValue;
            if (count < fewest)
                (rarest, fewest) = (constraint, count);
        }
        foreach (var value in rarest?.Values ?? [])
        {
            var nodes = _index.WithLabel(rarest!.Key, value);
            for (var i = 0; i < nodes?.Count; i++)
                Consider(nodes[i]);
        }
        return rarest is not null;
    }

    private void ConsiderSomeWithImage()
    {
        if (_request.Image is null || _index.WithImage(_request.Image) is not { } nodes)
            return;
        for (var i = 0; i < Math.Min(nodes.Count, WithImage); i++)
            ConsiderUnlessLastResort(nodes[nodes.Count <= WithImage ? i : _draws.Below(nodes.Count)]);
    }

    /// <summary>From the group that ranks first to the one that ranks last, until there are enough.</summary>
    private void SearchGroups(int enough)
    {
        var before = _found.Count;
        foreach (var group in Groups())
        {
            if (_found.Count - before >= enough)
                return;
            if (_request.Strategy == PlacementStrategy.Pack && group.Crowd == 0)
                VisitFullest(group);
            else if (group.Size <= SmallGroup || Sample(group) < PoorSample)
                VisitAll(group);
        }
    }

    /// <summary>
    /// The pools in which nodes can fit, together as far as the strategy sees no difference, in its order. Among equals chance decides, in
    /// proportion to size: each of their nodes is as likely to be chosen as any other.
    /// </summary>
    private List<Group> Groups()
    {
        var groups = new Dictionary<(int Region, int Crowd, ZoneKey Zone), Group>();
        var isPack = _request.Strategy == PlacementStrategy.Pack;
        foreach (var pool in _index.Pools)
        {
            var zone = pool.Key.Zone;
            if (!pool.Nodes.MayFit(_request.Wanted)
                || PlacementFilters.Judge(_request, zone.Region, pool.Key.Architecture, pool.Features) != RefusalReason.None)
            {
                continue;
            }
            var from = pool.Nodes.CountBelow(_request.Wanted.MemoryMib);
            var key = (
                Region: _request.RankOf(zone.Region),
                Crowd: isPack ? (pool.Key.IsEmpty ? 1 : 0) : _zones.GetValueOrDefault(zone),
                Zone: isPack ? default : zone);
            if (!groups.TryGetValue(key, out var group))
                groups.Add(key, group = new Group(key.Region, key.Crowd));
            group.Pools.Add((pool.Nodes, from));
            group.Size += pool.Nodes.Count - from;
        }
        var sorted = groups.Values.ToList();
        foreach (var group in sorted)
            group.Tie = -Math.Log(_draws.Fraction()) / group.Size;
        sorted.Sort((a, b) => (a.Region, a.Crowd, a.Tie).CompareTo((b.Region, b.Crowd, b.Tie)));
        return sorted;
    }

    /// <summary>Draws nodes until about log n of them fit, or too many did not.</summary>
    /// <returns>How many fit.</returns>
    private int Sample(Group group)
    {
        var enough = 2 * (BitOperations.Log2((uint)group.Size) + 1);
        var before = _found.Count;
        for (var draw = 0; draw < 4 * enough && _found.Count - before < enough; draw++)
            ConsiderUnlessLastResort(group.At(_draws.Below(group.Size)));
        return _found.Count - before;
    }

    private void VisitAll(Group group)
    {
        foreach (var (nodes, _) in group.Pools)
        {
            nodes.VisitFitting(_request.Wanted, node =>
            {
                ConsiderUnlessLastResort(node);
                return true;
            });
        }
    }

    /// <summary>Those with the least free memory, of each pool as many as a sample would have.</summary>
    private void VisitFullest(Group group)
    {
        var enough = 2 * (BitOperations.Log2((uint)group.Size) + 1);
        foreach (var (nodes, _) in group.Pools)
        {
            var before = _found.Count;
            nodes.VisitFitting(_request.Wanted, node =>
            {
                ConsiderUnlessLastResort(node);
                return _found.Count - before < enough;
            });
        }
    }

    private void ConsiderUnlessLastResort(IndexedNode node)
    {
        if (_request.Failures.Count == 0 || _request.PenaltyOf(node.View.Id) < NodeFailure.LastResort)
            Consider(node);
    }

    private void Consider(IndexedNode node)
    {
        if (node.Visit == _visit)
            return;
        node.Visit = _visit;
        if (PlacementFilters.Judge(_request, node) != RefusalReason.None)
            return;
        var isPack = _request.Strategy == PlacementStrategy.Pack;
        var penalty = _request.PenaltyOf(node.View.Id);
        _found.Add(new Candidate(
            node,
            penalty >= NodeFailure.LastResort,
            _request.RankOf(node.View.Region),
            isPack ? (node.IsEmpty ? 1 : 0) : _zones.GetValueOrDefault(node.ZoneKey),
            isPack ? 0 : node.CountOf(_request.AppId),
            Candidate.ScoreOf(_request, node, penalty),
            SeededDraws.Mix(_tieSeed ^ node.Identity)));
    }

    /// <summary>Pools between which the strategy sees no difference, each from the first node with enough memory on.</summary>
    private sealed class Group(int region, int crowd)
    {
        public int Region { get; } = region;

        public int Crowd { get; } = crowd;

        public List<(NodeTree Nodes, int From)> Pools { get; } = [];

        public int Size { get; set; }

        public double Tie { get; set; }

        public IndexedNode At(int number)
        {
            foreach (var (nodes, from) in Pools)
            {
                var here = nodes.Count - from;
                if (number < here)
                    return nodes.At(from + number);
                number -= here;
            }
            throw new ArgumentOutOfRangeException(nameof(number), number, "The group is smaller.");
        }
    }
}
