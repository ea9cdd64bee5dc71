namespace Ravel.ControlPlane.Placement;

/// <summary>
/// Nodes in the order of their free memory, with counts and the largest free amounts of every subtree: the n-th node that has enough
/// memory is found in O(log n), and whole subtrees in which nothing can fit are passed over. A treap whose priorities come from the
/// nodes' ids, so its order depends on what is in it, never on how that came about.
/// </summary>
internal sealed class NodeTree
{
    private IndexedNode? _root;

    public int Count => Size(_root);

    /// <summary>False: no node has that much. True: one may, or several have a part of it each.</summary>
    public bool MayFit(in ResourceAmounts wanted) => _root is not null && _root.TreeFree.Covers(wanted);

    public void Add(IndexedNode node)
    {
        node.Left = node.Right = null;
        Pull(node);
        var (left, right) = Split(_root, node);
        _root = Merge(Merge(left, node), right);
    }

    public void Remove(IndexedNode node) => _root = Without(_root, node);

    /// <summary>How many have less free memory than that. They are the first ones.</summary>
    public int CountBelow(long memoryMib)
    {
        var below = 0;
        for (var at = _root; at is not null;)
        {
            if (at.Free.MemoryMib < memoryMib)
            {
                below += Size(at.Left) + 1;
                at = at.Right;
            }
            else
            {
                at = at.Left;
            }
        }
        return below;
    }

    /// <summary>The one before which there are <paramref name="rank"/> others.</summary>
    public IndexedNode At(int rank)
    {
        var at = _root;
        while (at is not null)
        {
            var left = Size(at.Left);
            if (rank == left)
                return at;
            if (rank < left)
            {
                at = at.Left;
            }
            else
            {
                rank -= left + 1;
                at = at.Right;
            }
        }
        throw new ArgumentOutOfRangeException(nameof(rank), rank, $"The tree has {Count} nodes.");
    }

    /// <summary>Hands over the nodes with that much of everything, those with the least free memory first, until the visitor has enough.</summary>
    public void VisitFitting(in ResourceAmounts wanted, Func<IndexedNode, bool> wantsMore) => Visit(_root, wanted, wantsMore);

    private static bool Visit(IndexedNode? at, in ResourceAmounts wanted, Func<IndexedNode, bool> wantsMore)
    {
        if (at is null || !at.TreeFree.Covers(wanted))
            return true;
        // What is left of a node with too little memory has no more than it.
        if (at.Free.MemoryMib >= wanted.MemoryMib && !Visit(at.Left, wanted, wantsMore))
            return false;
        if (at.Free.Covers(wanted) && !wantsMore(at))
            return false;
        return Visit(at.Right, wanted, wantsMore);
    }

    private static int Size(IndexedNode? node) => node?.TreeSize ?? 0;

    private static bool IsBefore(IndexedNode a, IndexedNode b)
    {
        if (a.Free.MemoryMib != b.Free.MemoryMib)
            return a.Free.MemoryMib < b.Free.MemoryMib;
        if (a.Identity != b.Identity)
            return a.Identity < b.Identity;
        return string.CompareOrdinal(a.View.Id, b.View.Id) < 0;
    }

    private static ulong Priority(IndexedNode node) => SeededDraws.Mix(node.Identity);

    private static void Pull(IndexedNode node)
    {
        node.TreeSize = 1 + Size(node.Left) + Size(node.Right);
        var free = node.Free;
        if (node.Left is { } left)
            free = ResourceAmounts.Max(free, left.TreeFree);
        if (node.Right is { } right)
            free = ResourceAmounts.Max(free, right.TreeFree);
        node.TreeFree = free;
    }

    private static (IndexedNode? Before, IndexedNode? After) Split(IndexedNode? at, IndexedNode pivot)
    {
        if (at is null)
            return (null, null);
        if (IsBefore(at, pivot))
        {
            (at.Right, var after) = Split(at.Right, pivot);
            Pull(at);
            return (at, after);
        }
        (var before, at.Left) = Split(at.Left, pivot);
        Pull(at);
        return (before, at);
    }

    private static IndexedNode? Merge(IndexedNode? left, IndexedNode? right)
    {
        if (left is null || right is null)
            return left ?? right;
        if (Priority(left) > Priority(right))
        {
            left.Right = Merge(left.Right, right);
            Pull(left);
            return left;
        }
        right.Left = Merge(left, right.Left);
        Pull(right);
        return right;
    }

    private static IndexedNode? Without(IndexedNode? at, IndexedNode node)
    {
        if (at is null)
            throw new InvalidOperationException($"Node {node.View.Id} is not where the order of the tree has it.");
        if (at == node)
            return Merge(at.Left, at.Right);
        if (IsBefore(node, at))
            at.Left = Without(at.Left, node);
        else
            at.Right = Without(at.Right, node);
        Pull(at);
        return at;
    }
}
