using System.Diagnostics.CodeAnalysis;
using Ravel.Images.Erofs;

namespace Ravel.Images.Tree;

/// <summary>A node of the merged tree of all layers: a directory, or something that is already written.</summary>
internal abstract class TreeInode;

/// <summary>Anything but a directory. Several names share it when they are hard links.</summary>
/// <param name="written">Its place in the output.</param>
/// <param name="target">What a symbolic link says; null for the rest.</param>
internal sealed class LeafInode(ErofsInode written, byte[]? target) : TreeInode
{
    public ErofsInode Written { get; } = written;

    public byte[]? Target { get; } = target;
}

internal sealed class DirectoryInode(DirectoryInode? parent, InodeAttributes attributes, int depth) : TreeInode
{
    private Dictionary<byte[], TreeEntry>? _children;

    /// <summary>Null for the root.</summary>
    public DirectoryInode? Parent { get; } = parent;

    public int Depth { get; } = depth;

    public InodeAttributes Attributes { get; set; } = attributes;

    /// <summary>The last layer that had an entry for this directory or for something below it.</summary>
    public int TouchedBy { get; set; } = -1;

    /// <summary>The last layer whose whiteout took everything of earlier layers out of this directory and what is below it.</summary>
    public int ClearedBy { get; set; } = -1;

    /// <summary>Where the inode will be, once planned.</summary>
    public long Offset { get; set; }

    public int Count => _children?.Count ?? 0;

    public IEnumerable<KeyValuePair<byte[], TreeEntry>> Children => _children ?? [];

    public bool TryGet(ReadOnlySpan<byte> name, [NotNullWhen(true)] out TreeInode? inode)
    {
        inode = null;
        if (_children is null || !_children.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(name, out var entry))
            return false;
        inode = entry.Inode;
        return true;
    }

    public void Set(ReadOnlySpan<byte> name, TreeEntry entry)
    {
        _children ??= new Dictionary<byte[], TreeEntry>(ByteNameComparer.Instance);
        _children.GetAlternateLookup<ReadOnlySpan<byte>>()[name] = entry;
    }

    public bool TryGetEntry(ReadOnlySpan<byte> name, out TreeEntry entry)
    {
        entry = default;
        return _children is not null && _children.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(name, out entry);
    }

    public void Remove(ReadOnlySpan<byte> name) => _children?.GetAlternateLookup<ReadOnlySpan<byte>>().Remove(name);

    /// <summary>Takes out every child the predicate names and returns them.</summary>
    public List<TreeInode> RemoveWhere(Func<TreeEntry, bool> predicate)
    {
        List<TreeInode> removed = [];
        if (_children is null)
            return removed;
        foreach (var (name, entry) in _children)
        {
            if (!predicate(entry))
                continue;
            removed.Add(entry.Inode);
            _children.Remove(name);
        }
        return removed;
    }
}

/// <param name="TouchedBy">The layer that made this name; for directories <see cref="DirectoryInode.TouchedBy"/> counts.</param>
internal readonly record struct TreeEntry(TreeInode Inode, int TouchedBy)
{
    public bool IsTouchedBy(int layer) => (Inode as DirectoryInode)?.TouchedBy == layer || (Inode is LeafInode && TouchedBy == layer);
}

/// <summary>Names are bytes, compared as such.</summary>
internal sealed class ByteNameComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
{
    public static readonly ByteNameComparer Instance = new();

    public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

    public int GetHashCode(byte[] name) => GetHashCode(name.AsSpan());

    public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

    public int GetHashCode(ReadOnlySpan<byte> name)
    {
        // HashCode is seeded per process, so that nobody can prepare names that collide.
        var hash = default(HashCode);
        hash.AddBytes(name);
        return hash.ToHashCode();
    }

    public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();
}
