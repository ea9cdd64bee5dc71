using System.Text;
using Ravel.Images.Erofs;
using Ravel.Images.Tar;

namespace Ravel.Images.Tree;

/// <summary>
/// Applies layers, oldest first, to the tree of an image: entries replace what was there, whiteouts take it away
/// (OCI image specification, layer.md, "Applying Changesets"). File content goes straight to the writer; content that a
/// later entry replaces is erased from it. The result equals <c>umoci unpack</c> of the same image.
/// </summary>
internal sealed class LayerMerger
{
    /// <summary>A directory nobody described, but something was put into (umoci: mkdir -p under umask 022; the time is ours).</summary>
    private static readonly InodeAttributes Undescribed = new(InodeType.Directory, 0x1ed, 0, 0, 0, 0, []);

    private readonly ErofsWriter _writer;
    private readonly ImageLimits _limits;
    private readonly PathResolver _paths;
    private int _layer = -1;
    private int _entries;
    private long _fileBytes;
    private long _xattrBytes;
    private long _nameBytes;

    public LayerMerger(ErofsWriter writer, ImageLimits limits)
    {
        _writer = writer;
        _limits = limits;
        Root = new DirectoryInode(null, Undescribed, depth: 0);
        _paths = new PathResolver(Root, limits);
    }

    public DirectoryInode Root { get; }

    /// <summary>Reads one layer to the end of its archive.</summary>
    /// <exception cref="ImageException"><c>image-invalid</c>, naming the entry.</exception>
    public void Apply(TarReader layer, CancellationToken cancellationToken)
    {
        _layer++;
        // Errors of the archive itself come between entries, and are found by the one before.
        var place = "at its start";
        try
        {
            while (layer.Next() is { } entry)
            {
                cancellationToken.ThrowIfCancellationRequested();
                place = $"at {Printable(entry.Name)}";
                if (++_entries > _limits.MaxEntries)
                    throw Invalid($"the image's layers have over {_limits.MaxEntries} entries");
                Apply(entry, layer);
                place = $"behind {Printable(entry.Name)}";
            }
        }
        catch (ImageException e) when (e.Code == "image-invalid")
        {
            throw new ImageException(e.Code, $"{e.Message} ({place}, layer {_layer + 1}); build the image anew", e);
        }
    }

    private void Apply(TarEntry entry, TarReader data)
    {
        var path = EntryPath.Parse(entry.Name);
        if (path.IsRoot)
        {
            if (entry.Type != TarEntryType.Directory)
                throw Invalid("a layer replaces the root directory by something else");
            Root.Attributes = AttributesOf(entry, InodeType.Directory);
            Root.TouchedBy = _layer;
            return;
        }
        if (Whiteout.TryParse(path.Name.Span, out var whiteout))
        {
            ApplyWhiteout(path, whiteout);
            return;
        }
        if (path.Name.Length > ErofsFormat.MaxNameLength)
            throw Invalid($"a layer has a name of {path.Name.Length} bytes; Linux takes {ErofsFormat.MaxNameLength}");

        var parent = ParentOf(path);
        parent.TryGetEntry(path.Name.Span, out var old);
        if (entry.Type == TarEntryType.Directory && old.Inode is DirectoryInode existing)
        {
            existing.Attributes = AttributesOf(entry, InodeType.Directory);
            Touch(existing);
            return;
        }
        if (old.Inode is not null)
        {
            parent.Remove(path.Name.Span);
            Discard(old.Inode);
        }
        TreeInode inode = entry.Type switch
        {
            TarEntryType.Directory => NewDirectory(parent, AttributesOf(entry, InodeType.Directory)),
            TarEntryType.HardLink => HardLink(entry),
            TarEntryType.SymbolicLink => SymbolicLink(entry),
            TarEntryType.Regular => File(entry, data),
            TarEntryType.CharacterDevice => Special(entry, InodeType.CharacterDevice),
            TarEntryType.BlockDevice => Special(entry, InodeType.BlockDevice),
            TarEntryType.Fifo => Special(entry, InodeType.Fifo),
            _ => throw new InvalidOperationException($"Entry type {entry.Type} has no rule."),
        };
        CountNames(path.Name.Length);
        parent.Set(path.Name.Span, new TreeEntry(inode, _layer));
        Touch(inode as DirectoryInode ?? parent);
    }

    /// <summary>The directory an entry goes into, made where it is missing.</summary>
    private DirectoryInode ParentOf(EntryPath path)
    {
        var (directory, missing) = _paths.Resolve(path.Parent);
        foreach (var name in missing)
        {
            if (directory.TryGet(name.Span, out _))
                throw Invalid("a layer has an entry below something that is not a directory");
            if (name.Length > ErofsFormat.MaxNameLength)
                throw Invalid($"a layer has a name of {name.Length} bytes; Linux takes {ErofsFormat.MaxNameLength}");
            if (++_entries > _limits.MaxEntries)
                throw Invalid($"the image's layers have over {_limits.MaxEntries} entries");
            CountNames(name.Length);
            var made = NewDirectory(directory, Undescribed);
            directory.Set(name.Span, new TreeEntry(made, _layer));
            directory = made;
        }
        return directory;
    }

    private DirectoryInode NewDirectory(DirectoryInode parent, InodeAttributes attributes)
    {
        if (parent.Depth >= _limits.MaxDepth)
            throw Invalid($"a layer has over {_limits.MaxDepth} directories inside one another");
        return new DirectoryInode(parent, attributes, parent.Depth + 1);
    }

    private LeafInode HardLink(TarEntry entry)
    {
        var target = EntryPath.Parse(entry.LinkTarget);
        var (directory, missing) = _paths.Resolve(target.Parent);
        if (target.IsRoot || missing.Count > 0 || !directory.TryGet(target.Name.Span, out var inode))
            throw Invalid($"a layer has a hard link to {Printable(entry.LinkTarget)}, which is not there");
        if (inode is not LeafInode leaf)
            throw Invalid($"a layer has a hard link to the directory {Printable(entry.LinkTarget)}");
        if (!_writer.TryLink(leaf.Written))
            throw Invalid($"a layer has a file with over {ErofsWriter.MaxLinks} hard links");
        return leaf;
    }

    private LeafInode SymbolicLink(TarEntry entry)
    {
        var target = entry.LinkTarget;
        if (target.Length is 0 or >= EntryPath.MaxLength || target.AsSpan().Contains((byte)0))
            throw Invalid($"a layer has a symbolic link whose target has {target.Length} bytes or a NUL");
        CountNames(target.Length);
        // Linux knows no mode of a symbolic link; all read as rwxrwxrwx.
        _writer.BeginFile(AttributesOf(entry, InodeType.SymbolicLink) with { Permissions = 0x1ff }, target.Length);
        _writer.Append(target);
        return new LeafInode(_writer.EndFile(), target);
    }

    private LeafInode File(TarEntry entry, TarReader data)
    {
        // In this order, so that a size near 2^63 cannot overflow the sum.
        if (entry.Size > _limits.MaxFileBytes - _fileBytes)
            throw Invalid($"the image's files have over {_limits.MaxFileBytes} bytes");
        _fileBytes += entry.Size;
        _writer.BeginFile(AttributesOf(entry, InodeType.Regular), entry.Size);
        if (entry.Extents is null)
        {
            CopyData(data, entry.Size);
        }
        else
        {
            long end = 0;
            foreach (var (offset, length) in entry.Extents)
            {
                _writer.AppendZeros(offset - end);
                CopyData(data, length);
                end = offset + length;
            }
            _writer.AppendZeros(entry.Size - end);
        }
        return new LeafInode(_writer.EndFile(), target: null);
    }

    private void CopyData(TarReader data, long length)
    {
        while (length > 0)
        {
            var bytes = data.ReadData(length);
            _writer.Append(bytes);
            length -= bytes.Length;
        }
    }

    private LeafInode Special(TarEntry entry, InodeType type)
    {
        var device = type == InodeType.Fifo ? 0 : ErofsFormat.EncodeDevice(entry.DeviceMajor, entry.DeviceMinor);
        return new LeafInode(_writer.AddSpecial(AttributesOf(entry, type) with { Device = device }), target: null);
    }

    /// <summary>Names and targets stay in memory until the directories are written.</summary>
    private void CountNames(int bytes)
    {
        _nameBytes += bytes;
        if (_nameBytes > _limits.MaxNameBytes)
            throw Invalid($"the image's names and symbolic links have over {_limits.MaxNameBytes} bytes");
    }

    private InodeAttributes AttributesOf(TarEntry entry, InodeType type)
    {
        var xattrs = entry.Xattrs.Count == 0 ? [] : XattrEncoder.Encode(entry.Xattrs);
        _xattrBytes += xattrs.Length;
        if (_xattrBytes > _limits.MaxXattrBytes)
            throw Invalid($"the image's files have over {_limits.MaxXattrBytes} bytes of extended attributes");
        return new InodeAttributes(
            type, entry.Permissions, entry.UserId, entry.GroupId, entry.Seconds, entry.Nanoseconds, xattrs);
    }

    /// <summary>
    /// Takes away what earlier layers put at a place, and nothing of this layer's own, in whatever order the archive
    /// has them.
    /// </summary>
    private void ApplyWhiteout(EntryPath path, Whiteout whiteout)
    {
        var (directory, missing) = _paths.Resolve(path.Parent);
        if (missing.Count > 0)
            return;
        var pending = new Stack<DirectoryInode>();
        if (whiteout.IsOpaque)
        {
            pending.Push(directory);
        }
        else
        {
            var name = path.Name.Span[Whiteout.PrefixLength..];
            if (!directory.TryGetEntry(name, out var entry))
                return;
            if (!entry.IsTouchedBy(_layer))
            {
                directory.Remove(name);
                Discard(entry.Inode);
            }
            else if (entry.Inode is DirectoryInode kept)
            {
                pending.Push(kept);
            }
        }
        while (pending.TryPop(out var current))
        {
            // A second look would find only what this layer made since, however often an archive asks for it.
            if (current.ClearedBy == _layer)
                continue;
            current.ClearedBy = _layer;
            foreach (var removed in current.RemoveWhere(child => !child.IsTouchedBy(_layer)))
                Discard(removed);
            foreach (var (_, child) in current.Children)
            {
                if (child.Inode is DirectoryInode below)
                    pending.Push(below);
            }
        }
    }

    /// <summary>Counts down the links of everything below a node that left the tree.</summary>
    private void Discard(TreeInode removed)
    {
        var pending = new Stack<TreeInode>();
        pending.Push(removed);
        while (pending.TryPop(out var inode))
        {
            if (inode is LeafInode leaf)
                _writer.Unlink(leaf.Written);
            else if (inode is DirectoryInode directory)
                foreach (var (_, child) in directory.Children)
                    pending.Push(child.Inode);
        }
    }

    private void Touch(DirectoryInode? directory)
    {
        for (; directory is not null && directory.TouchedBy != _layer; directory = directory.Parent)
            directory.TouchedBy = _layer;
    }

    private static ImageException Invalid(string message) => new("image-invalid", message);

    /// <summary>A name from a stranger, fit for a message.</summary>
    private static string Printable(ReadOnlySpan<byte> name)
    {
        var text = Encoding.UTF8.GetString(name.Length > 200 ? name[..200] : name);
        return string.Concat(text.Select(c => char.IsControl(c) ? '?' : c));
    }
}
