using Ravel.Images.Tree;

namespace Ravel.Images.Erofs;

/// <summary>The end of an image: directories, link counts, superblock.</summary>
internal sealed partial class ErofsWriter
{
    /// <summary>Writes what only the finished tree tells, and flushes. The file's length is a whole number of blocks.</summary>
    /// <returns>The file's length.</returns>
    public long Finish(DirectoryInode root)
    {
        // 1. Plan: every directory's place, parents before children, names in byte order.
        PadBlock();
        var plans = PlanDirectories(root);

        // 2. Directory inodes with their inline tails, in the order of their places.
        foreach (var plan in plans)
            WriteDirectoryInode(plan);
        PadBlock();

        // 3. Whole blocks of large directories.
        foreach (var plan in plans)
            WriteDirectoryData(plan);

        // 4. Link counts that changed after their inodes were written.
        foreach (var inode in _relinked.OrderBy(inode => inode.Offset))
        {
            var (offset, value) = inode.LinkCount();
            _window.Patch(offset, value);
        }

        // 5. The superblock makes it a file system.
        _window.Flush();
        var length = _window.Position;
        RandomAccess.SetLength(_file, length);
        var block = new byte[ErofsFormat.BlockSize];
        RandomAccess.Read(_file, block, 0);
        ErofsFormat.WriteSuperblock(block, new ErofsSuperblock(
            _inodes - _erasedInodes, _buildTime, checked((uint)(length >> ErofsFormat.BlockBits)), _uuid));
        RandomAccess.Write(_file, block, 0);
        return length;
    }

    private sealed record DirectoryPlan(
        DirectoryInode Directory, ErofsInode.Shape Shape, long Size, uint SubdirectoryCount, uint Number)
    {
        public long DataBlock { get; set; }

        public long DataBlocks => ErofsFormat.BlocksOf(Size - Shape.InlineLength);
    }

    private List<DirectoryPlan> PlanDirectories(DirectoryInode root)
    {
        var plans = new List<DirectoryPlan>();
        var queue = new Queue<DirectoryInode>();
        queue.Enqueue(root);
        var offset = _window.Position;
        while (queue.TryDequeue(out var directory))
        {
            var entries = EntriesOf(directory);
            uint subdirectories = 0;
            foreach (var (_, child) in SortedChildren(directory))
            {
                if (child.Inode is not DirectoryInode below)
                    continue;
                subdirectories++;
                queue.Enqueue(below);
            }
            var size = DirectoryBlocks.SizeOf(entries);
            var plan = new DirectoryPlan(
                directory, ShapeOf(directory, size, subdirectories + 2), size, subdirectories, ++_inodes);
            plans.Add(plan);
            if (directory.Parent is null)
            {
                directory.Offset = ErofsFormat.RootOffset;
                continue;
            }
            // An inode that fits a block stays inside one, which an inline tail needs.
            var room = ErofsFormat.BlockSize - (int)(offset % ErofsFormat.BlockSize);
            if (plan.Shape.Length > room)
                offset += room;
            directory.Offset = offset;
            offset += ErofsFormat.AlignSlot(plan.Shape.Length);
        }

        var block = ErofsFormat.BlocksOf(offset);
        foreach (var plan in plans)
        {
            plan.DataBlock = block;
            block += plan.DataBlocks;
        }
        return plans;
    }

    private ErofsInode.Shape ShapeOf(DirectoryInode directory, long size, uint links)
    {
        var shape = ErofsInode.Shape.Of(directory.Attributes, size, _buildTime, links);
        if (directory.Parent is not null)
            return shape;
        var room = ErofsFormat.BlockSize - ErofsFormat.RootOffset;
        if (shape.HeadLength > room)
            throw new ImageException("image-invalid", $"the root directory has more than {room - ErofsFormat.ExtendedInodeSize} bytes of extended attributes");
        return shape.Length <= room ? shape : shape with { InlineLength = 0 };
    }

    private void WriteDirectoryInode(DirectoryPlan plan)
    {
        var directory = plan.Directory;
        var bytes = _scratch.AsSpan(0, plan.Shape.Length);
        bytes.Clear();
        ErofsInode.Write(
            bytes, directory.Attributes, plan.Shape, plan.Size, plan.DataBlocks > 0 ? (uint)plan.DataBlock : 0,
            plan.SubdirectoryCount + 2, plan.Number);
        if (plan.Shape.InlineLength > 0)
        {
            var entries = EntriesOf(directory);
            for (var next = 0; next < entries.Count;)
                (next, _) = DirectoryBlocks.WriteBlock(entries, next, _directoryBlock);
            _directoryBlock.AsSpan(0, plan.Shape.InlineLength).CopyTo(bytes[plan.Shape.HeadLength..]);
        }
        if (directory.Parent is null)
        {
            _window.Patch(directory.Offset, bytes);
            return;
        }
        _window.WriteZeros(directory.Offset - _window.Position);
        _window.Write(bytes);
    }

    private void WriteDirectoryData(DirectoryPlan plan)
    {
        if (plan.DataBlocks == 0)
            return;
        var entries = EntriesOf(plan.Directory);
        var next = 0;
        for (long i = 0; i < plan.DataBlocks; i++)
        {
            (next, _) = DirectoryBlocks.WriteBlock(entries, next, _directoryBlock);
            _window.Write(_directoryBlock);
        }
    }

    private static List<DirectoryEntry> EntriesOf(DirectoryInode directory)
    {
        var entries = new List<DirectoryEntry>(directory.Count + 2)
        {
            new("."u8.ToArray(), ErofsFormat.NodeNumber(directory.Offset), InodeType.Directory),
            new(".."u8.ToArray(), ErofsFormat.NodeNumber((directory.Parent ?? directory).Offset), InodeType.Directory),
        };
        foreach (var (name, child) in directory.Children)
        {
            entries.Add(child.Inode switch
            {
                DirectoryInode below => new DirectoryEntry(name, ErofsFormat.NodeNumber(below.Offset), InodeType.Directory),
                LeafInode leaf => new DirectoryEntry(name, ErofsFormat.NodeNumber(leaf.Written.Offset), leaf.Written.Type),
                _ => throw new InvalidOperationException("A tree has directories and leaves only."),
            });
        }
        entries.Sort((a, b) => a.Name.AsSpan().SequenceCompareTo(b.Name));
        return entries;
    }

    private static IEnumerable<KeyValuePair<byte[], TreeEntry>> SortedChildren(DirectoryInode directory) =>
        directory.Children
            .Where(child => child.Value.Inode is DirectoryInode)
            .OrderBy(child => child.Key, Comparer<byte[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b)));
}
