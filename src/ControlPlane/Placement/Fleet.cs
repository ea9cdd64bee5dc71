using System.Collections.Frozen;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Placement;

/// <summary>
/// All nodes as this server sees them, kept from their reports and its own placements for as long as it runs. A node's figures replace
/// whatever was put on the node before it was asked for them, so a view can be too hopeful, which costs a question, and is never too
/// gloomy for longer than until the next report. How many machines an app has where is the database's: counted here as they come and go, and read
/// again now and then for what other servers have done. Safe to use from many threads.
/// </summary>
internal sealed class Fleet(TimeProvider time)
{
    private const int MaxNames = 100_000;

    private readonly Lock _lock = new();
    private readonly PlacementIndex _index = new();
    private readonly Dictionary<string, List<Hold>> _holds = new(StringComparer.Ordinal);

    /// <summary>One text for a name that thousands of nodes say.</summary>
    private readonly Dictionary<string, string> _names = new(StringComparer.Ordinal);

    /// <summary>Of nodes that were not heard of yet, the machines of each app.</summary>
    private Dictionary<string, FrozenDictionary<string, int>> _unheard = new(StringComparer.Ordinal);

    /// <summary>A node has said how it is.</summary>
    /// <param name="info">Its words.</param>
    /// <param name="condition">Whether it takes machines.</param>
    /// <param name="askedAt">Timestamp from before it was asked.</param>
    /// <returns>What the planner knows of it now, without what is on its way there.</returns>
    public NodeView Heard(Rpc.NodeInfo info, NodeCondition condition, long askedAt)
    {
        lock (_lock)
        {
            var known = _index.Find(info.NodeId);
            var said = NodeView.Of(info, condition, known?.View);
            if (info.Images.Count > 0)
                said = said with { Images = said.Images.Select(Shared).ToFrozenSet(StringComparer.Ordinal) };
            var view = said with { Allocated = said.Allocated + StillHeld(info.NodeId, askedAt) };
            if (known is not null)
            {
                _index.Refresh(view);
                return said;
            }
            _unheard.Remove(info.NodeId, out var apps);
            _index.Put(view with { Apps = apps ?? FrozenDictionary<string, int>.Empty });
            return said;
        }
    }

    /// <summary>Whether a node takes machines from now on; nothing happens when it has never been heard.</summary>
    public void SetCondition(string nodeId, NodeCondition condition)
    {
        lock (_lock)
        {
            if (_index.Find(nodeId) is { } node && node.View.Condition != condition)
                _index.Refresh(node.View with { Condition = condition, Allocated = node.Allocated });
        }
    }

    /// <summary>The node is no more.</summary>
    public void Remove(string nodeId)
    {
        lock (_lock)
        {
            _index.Remove(nodeId);
            if (_holds.Remove(nodeId, out var holds))
                holds.ForEach(hold => hold.IsSettled = true);
        }
    }

    /// <summary>Plans, and puts each machine on its first node at once, so that the next plan counts it.</summary>
    public (PlacementPlan Plan, IReadOnlyList<Hold> Holds) Plan(PlacementRequest request, int count, ulong seed)
    {
        lock (_lock)
        {
            var plan = PlacementPlanner.Plan(_index, request, count, seed);
            return (plan, [.. plan.Machines.Select(candidates => Put(new Hold(candidates[0], request.Wanted, request.AppId)))]);
        }
    }

    /// <summary>Puts one machine on a node that no plan has named.</summary>
    public Hold Put(string nodeId, PlacementRequest request)
    {
        lock (_lock)
            return Put(new Hold(nodeId, request.Wanted, request.AppId));
    }

    /// <summary>The node has refused: another one is asked.</summary>
    public void Move(Hold hold, string nodeId)
    {
        lock (_lock)
        {
            TakeOff(hold);
            hold.NodeId = nodeId;
            Put(hold);
        }
    }

    /// <summary>No node has it, or it was given back.</summary>
    public void Drop(Hold hold)
    {
        lock (_lock)
            TakeOff(hold);
    }

    /// <summary>The region of a node; empty when it has none or is not known.</summary>
    public string RegionOf(string nodeId)
    {
        lock (_lock)
            return _index.Find(nodeId)?.View.Region ?? "";
    }

    /// <summary>As the node last called its set of images; empty when it is not known.</summary>
    public string ImagesRevisionOf(string nodeId)
    {
        lock (_lock)
            return _index.Find(nodeId)?.View.ImagesRevision ?? "";
    }

    /// <summary>A machine of an app has come to a node or gone from it, other than by a <see cref="Hold"/>.</summary>
    public void Count(string nodeId, string appId, int machines)
    {
        lock (_lock)
            _index.CountApp(nodeId, appId, machines);
    }

    /// <summary>
    /// What the database said a moment ago of the machines of each app on each node. What came and went meanwhile is counted the next time:
    /// the spread rests on it, the room does not.
    /// </summary>
    public void SetApps(IEnumerable<(string NodeId, string AppId, int Machines)> counts)
    {
        var stored = counts.GroupBy(count => count.NodeId)
            .ToDictionary(node => node.Key, node => node.ToDictionary(count => count.AppId, count => count.Machines), StringComparer.Ordinal);
        lock (_lock)
        {
            foreach (var node in _index.Nodes)
            {
                var id = node.View.Id;
                stored.Remove(id, out var its);
                its ??= [];
                foreach (var app in node.Apps.Keys.Union(its.Keys).ToList())
                {
                    var more = its.GetValueOrDefault(app) - node.CountOf(app);
                    if (more != 0)
                        _index.CountApp(id, app, more);
                }
            }
            _unheard = stored.ToDictionary(node => node.Key, node => node.Value.ToFrozenDictionary(StringComparer.Ordinal), StringComparer.Ordinal);
        }
    }

    /// <summary>Forgets nodes that are away and that the database does not have any more.</summary>
    public void KeepOnly(IReadOnlySet<string> nodeIds)
    {
        lock (_lock)
        {
            foreach (var node in _index.Nodes.Where(node => node.View.Condition == NodeCondition.Unreachable && !nodeIds.Contains(node.View.Id)).ToList())
                Remove(node.View.Id);
        }
    }

    /// <summary>Nodes that have refused a request, then those that its planner held to lack room: who may have some by now.</summary>
    public IReadOnlyList<string> WorthAsking(PlacementRequest request, IReadOnlyCollection<string> refused, int most)
    {
        lock (_lock)
        {
            return
            [
                .. _index.Nodes
                    .Where(node => refused.Contains(node.View.Id) || PlacementFilters.Judge(request, node) >= RefusalReason.Machines)
                    .OrderByDescending(node => refused.Contains(node.View.Id))
                    .Take(most)
                    .Select(node => node.View.Id),
            ];
        }
    }

    private Hold Put(Hold hold)
    {
        hold.Since = time.GetTimestamp();
        hold.IsSettled = !_index.Debit(hold.NodeId, hold.Amounts, hold.AppId);
        if (!hold.IsSettled)
        {
            if (!_holds.TryGetValue(hold.NodeId, out var holds))
                _holds.Add(hold.NodeId, holds = []);
            holds.Add(hold);
        }
        return hold;
    }

    private void TakeOff(Hold hold)
    {
        if (hold.IsSettled)
        {
            _index.CountApp(hold.NodeId, hold.AppId, -1);
            return;
        }
        hold.IsSettled = true;
        _index.Credit(hold.NodeId, hold.Amounts, hold.AppId);
        if (_holds.TryGetValue(hold.NodeId, out var holds) && holds.Remove(hold) && holds.Count == 0)
            _holds.Remove(hold.NodeId);
    }

    /// <summary>Room that was put there after the node was asked. The rest is in its figures, or was refused.</summary>
    private ResourceAmounts StillHeld(string nodeId, long askedAt)
    {
        var held = default(ResourceAmounts);
        if (!_holds.TryGetValue(nodeId, out var holds))
            return held;
        for (var i = holds.Count - 1; i >= 0; i--)
        {
            if (holds[i].Since <= askedAt)
            {
                holds[i].IsSettled = true;
                holds.RemoveAt(i);
            }
            else
            {
                held += holds[i].Amounts;
            }
        }
        if (holds.Count == 0)
            _holds.Remove(nodeId);
        return held;
    }

    private string Shared(string name)
    {
        // What no node has any more is forgotten with all the rest: it comes back with the next report that says it.
        if (_names.Count > MaxNames)
            _names.Clear();
        if (!_names.TryGetValue(name, out var shared))
            _names.Add(name, shared = name);
        return shared;
    }
}
