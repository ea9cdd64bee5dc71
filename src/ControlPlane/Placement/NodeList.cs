namespace Ravel.ControlPlane.Placement;

/// <summary>Nodes that have something in common, in the order of their ids.</summary>
internal sealed class NodeList
{
    private static readonly Comparer<IndexedNode> ById = Comparer<IndexedNode>.Create((a, b) => string.CompareOrdinal(a.View.Id, b.View.Id));

    private readonly List<IndexedNode> _nodes = [];

    public int Count => _nodes.Count;

    public IndexedNode this[int index] => _nodes[index];

    public void Add(IndexedNode node) => _nodes.Insert(~_nodes.BinarySearch(node, ById), node);

    public void Remove(IndexedNode node) => _nodes.RemoveAt(_nodes.BinarySearch(node, ById));
}
