namespace Ravel.ControlPlane.Placement;

/// <summary>A node in the index: its view, with what has been planned onto it since, and its place in the tree of its pool.</summary>
internal sealed class IndexedNode
{
    private Dictionary<string, int> _apps = [];

    public IndexedNode(NodeView view)
    {
        Identity = SeededDraws.SeedOf(view.Id);
        View = view;
        Features = Joined(view);
        Replace(view);
    }

    public NodeView View { get; private set; }

    /// <summary>A number for its id: the order of its tree, and ties, come from it rather than from when it was added.</summary>
    public ulong Identity { get; }

    public ZoneKey ZoneKey { get; private set; }

    /// <summary>Those of its view as one text.</summary>
    public string Features { get; private set; }

    public ResourceAmounts Total { get; private set; }

    public ResourceAmounts Allocated { get; private set; }

    /// <summary>Never negative: a node that holds too much fits nothing but what needs nothing.</summary>
    public ResourceAmounts Free { get; private set; }

    public bool IsEmpty => Allocated.Machines <= 0;

    public IReadOnlyDictionary<string, int> Apps => _apps;

    /// <summary>The pool it is in; null unless it takes machines.</summary>
    public NodePool? Pool { get; set; }

    /// <summary>The last plan that has looked at it.</summary>
    public long Visit { get; set; }

    // Its place in the tree (NodeTree).
    public IndexedNode? Left { get; set; }

    public IndexedNode? Right { get; set; }

    public int TreeSize { get; set; }

    /// <summary>The largest free amount of each resource in its subtree, of possibly different nodes.</summary>
    public ResourceAmounts TreeFree { get; set; }

    public int CountOf(string app) => app.Length == 0 ? 0 : _apps.GetValueOrDefault(app);

    /// <summary>Must be out of its tree, which is ordered by what this changes.</summary>
    public void Replace(NodeView view)
    {
        Refresh(view);
        _apps = new Dictionary<string, int>(view.Apps, StringComparer.Ordinal);
    }

    /// <summary>As <see cref="Replace"/>, but the machines of apps stay as they were counted.</summary>
    public void Refresh(NodeView view)
    {
        if (!ReferenceEquals(View.Features, view.Features))
            Features = Joined(view);
        View = view;
        ZoneKey = new ZoneKey(view.Region, view.Zone);
        Total = view.Total;
        Allocated = view.Allocated;
        Free = ResourceAmounts.Max(Total - Allocated, default);
    }

    /// <summary>Must be out of its tree, as for <see cref="Replace"/>.</summary>
    public void Change(in ResourceAmounts more, string app, int machines)
    {
        Allocated += more;
        Free = ResourceAmounts.Max(Total - Allocated, default);
        if (app.Length == 0)
            return;
        var count = CountOf(app) + machines;
        if (count > 0)
            _apps[app] = count;
        else
            _apps.Remove(app);
    }

    private static string Joined(NodeView view) => string.Join('\n', view.Features.Order(StringComparer.Ordinal));
}

/// <summary>What an app is spread over first. Nodes without a zone are one zone of their region.</summary>
internal readonly record struct ZoneKey(string Region, string Zone);
