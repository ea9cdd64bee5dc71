using System.Collections.Frozen;

namespace Ravel.ControlPlane.Placement;

/// <summary>
/// All nodes as they were last seen, kept so that a plan need not look at all of them: by pool and free memory, by label, by image, and with
/// the machines of each app counted by zone. One change of one node's amounts costs O(log n). Whoever shares it between threads holds a lock
/// over each call and over each plan: plans mark nodes they have looked at.
/// </summary>
internal sealed class PlacementIndex
{
    private readonly Dictionary<string, IndexedNode> _nodes = new(StringComparer.Ordinal);
    private readonly SortedList<PoolKey, NodePool> _pools = [];
    private readonly Dictionary<KeyValuePair<string, string>, NodeList> _byLabel = [];
    private readonly Dictionary<string, NodeList> _byImage = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Dictionary<ZoneKey, int>> _apps = new(StringComparer.Ordinal);
    private long _visits;

    public IReadOnlyCollection<IndexedNode> Nodes => _nodes.Values;

    /// <summary>In an order that depends on what they hold in common only.</summary>
    public IList<NodePool> Pools => _pools.Values;

    public IndexedNode? Find(string nodeId) => _nodes.GetValueOrDefault(nodeId);

    /// <summary>Adds a node, or replaces all that is known of it: what was debited since the node last spoke is forgotten.</summary>
    public void Put(NodeView view)
    {
        if (Find(view.Id) is { } node)
        {
            var before = node.View;
            Leave(node);
            Count(node, -1);
            node.Replace(view);
            Repost(node, before, view);
        }
        else
        {
            node = new IndexedNode(view);
            _nodes.Add(view.Id, node);
            Repost(node, null, view);
        }
        Count(node, 1);
        Enter(node);
    }

    /// <summary>
    /// Replaces what a known node says of itself. The machines of apps stay as they were counted: no node knows them by app.
    /// </summary>
    public void Refresh(NodeView view)
    {
        var node = _nodes[view.Id];
        var before = node.View;
        var moves = before.Region != view.Region || before.Zone != view.Zone;
        Leave(node);
        if (moves)
            Count(node, -1);
        node.Refresh(view);
        Repost(node, before, view);
        if (moves)
            Count(node, 1);
        Enter(node);
    }

    /// <summary>Counts machines of an app on a node, without room: the node's own figures have it, or will.</summary>
    /// <returns>False: the node has gone.</returns>
    public bool CountApp(string nodeId, string appId, int machines) => Change(nodeId, default, appId, machines);

    /// <returns>False: there is no such node.</returns>
    public bool Remove(string nodeId)
    {
        if (!_nodes.Remove(nodeId, out var node))
            return false;
        Leave(node);
        Count(node, -1);
        Repost(node, node.View, null);
        return true;
    }

    /// <summary>Counts a machine that was planned onto a node, until the node speaks for itself.</summary>
    /// <returns>False: the node has gone.</returns>
    public bool Debit(string nodeId, in ResourceAmounts amounts, string appId) => Change(nodeId, amounts, appId, 1);

    /// <summary>Takes a debit back.</summary>
    /// <returns>False: the node has gone.</returns>
    public bool Credit(string nodeId, in ResourceAmounts amounts, string appId) => Change(nodeId, default(ResourceAmounts) - amounts, appId, -1);

    /// <summary>How many machines of the app are in each zone that has any, on nodes of whatever condition.</summary>
    public IReadOnlyDictionary<ZoneKey, int> ZonesOf(string app) =>
        app.Length > 0 && _apps.TryGetValue(app, out var zones) ? zones : FrozenDictionary<ZoneKey, int>.Empty;

    /// <summary>Nodes with that label, whatever their condition; null: none.</summary>
    public NodeList? WithLabel(string key, string value) => _byLabel.GetValueOrDefault(KeyValuePair.Create(key, value));

    /// <summary>Nodes with that image, whatever their condition; null: none.</summary>
    public NodeList? WithImage(string digest) => _byImage.GetValueOrDefault(digest);

    /// <summary>A number no node is marked with.</summary>
    public long NewVisit() => ++_visits;

    private bool Change(string nodeId, in ResourceAmounts more, string appId, int machines)
    {
        if (Find(nodeId) is not { } node)
            return false;
        // Never fewer than none, whoever counted: the zone's sum must stay the sum of its nodes.
        machines = Math.Max(machines, -node.CountOf(appId));
        if (more == default)
        {
            node.Change(more, appId, machines);
            Count(appId, node.ZoneKey, machines);
            return true;
        }
        var wasEmpty = node.IsEmpty;
        var pool = node.Pool;
        pool?.Nodes.Remove(node);
        node.Change(more, appId, machines);
        Count(appId, node.ZoneKey, machines);
        if (pool is null)
            return true;
        if (wasEmpty == node.IsEmpty)
        {
            pool.Nodes.Add(node);
            return true;
        }
        Drop(pool);
        Enter(node);
        return true;
    }

    private void Enter(IndexedNode node)
    {
        if (node.View.Condition != NodeCondition.Ready)
            return;
        var key = PoolKey.Of(node);
        if (!_pools.TryGetValue(key, out var pool))
            _pools.Add(key, pool = new NodePool(key, node.View.Features));
        pool.Nodes.Add(node);
        node.Pool = pool;
    }

    private void Leave(IndexedNode node)
    {
        if (node.Pool is not { } pool)
            return;
        pool.Nodes.Remove(node);
        node.Pool = null;
        Drop(pool);
    }

    private void Drop(NodePool pool)
    {
        if (pool.Nodes.Count == 0)
            _pools.Remove(pool.Key);
    }

    private void Count(IndexedNode node, int sign)
    {
        foreach (var (app, machines) in node.Apps)
            Count(app, node.ZoneKey, sign * machines);
    }

    private void Count(string app, ZoneKey zone, int more)
    {
        if (app.Length == 0 || more == 0)
            return;
        if (!_apps.TryGetValue(app, out var zones))
            _apps.Add(app, zones = []);
        var count = zones.GetValueOrDefault(zone) + more;
        if (count != 0)
            zones[zone] = count;
        else if (zones.Remove(zone) && zones.Count == 0)
            _apps.Remove(app);
    }

    /// <summary>A view that differs in amounts only shares the rest with the one before it, and then there is nothing to do.</summary>
    private void Repost(IndexedNode node, NodeView? before, NodeView? after)
    {
        if (before?.Labels != after?.Labels)
            Post(_byLabel, node, before?.Labels ?? FrozenDictionary<string, string>.Empty, after?.Labels ?? FrozenDictionary<string, string>.Empty);
        if (before?.Images != after?.Images)
            Post(_byImage, node, before?.Images ?? FrozenSet<string>.Empty, after?.Images ?? FrozenSet<string>.Empty);
    }

    private static void Post<TKey>(Dictionary<TKey, NodeList> lists, IndexedNode node, IReadOnlyCollection<TKey> before, IReadOnlyCollection<TKey> after)
        where TKey : notnull
    {
        foreach (var key in before.Except(after))
        {
            var list = lists[key];
            list.Remove(node);
            if (list.Count == 0)
                lists.Remove(key);
        }
        foreach (var key in after.Except(before))
        {
            if (!lists.TryGetValue(key, out var list))
                lists.Add(key, list = new NodeList());
            list.Add(node);
        }
    }
}
