using System.Formats.Tar;
using Ravel.Contracts.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Archives;

/// <summary>
/// Makes what a tar archive holds. Without <c>top</c> it goes into a directory that is there. With it, the archive is one file or
/// tree of that name, and goes where cp would put it: into a directory that is there, else to the path itself.
/// </summary>
internal sealed class TreeUnpacker
{
    private readonly string _destination;
    private readonly string? _top;
    private readonly List<(string Path, long Modified)> _directories = [];

    // Where the entries go, and what their first part is called there; set with the first entry.
    private string _base;
    private string? _rename;

    public TreeUnpacker(string destination, string? top)
    {
        _destination = destination;
        _top = top;
        _base = destination;
    }

    /// <exception cref="ArchiveException">The destination does not suit the archive.</exception>
    public void Unpack(Stream input)
    {
        using var reader = new TarReader(input, leaveOpen: true);
        var isFirst = true;
        while (reader.GetNextEntry() is { } entry)
        {
            if (isFirst)
                Settle(entry);
            isFirst = false;
            if (entry.EntryType is not (TarEntryType.GlobalExtendedAttributes or TarEntryType.ExtendedAttributes))
                Make(entry);
        }
        // Last: what is made in a directory changes its time.
        for (var i = _directories.Count - 1; i >= 0; i--)
            FileMaking.SetModified(_directories[i].Path, _directories[i].Modified);
    }

    private void Settle(TarEntry first)
    {
        var there = FileStatus.Of(_destination, follow: true);
        if (there is { Kind: FileKind.Directory })
            return;
        if (_top is null)
        {
            throw there is null
                ? new ArchiveException(GuestArchives.NotFound, $"{_destination}: no such directory")
                : new ArchiveException(GuestArchives.Unsuitable, $"{_destination}: not a directory");
        }
        var isTree = first.EntryType == TarEntryType.Directory;
        if (isTree && there is not null)
            throw new ArchiveException(GuestArchives.Unsuitable, $"{_destination}: not a directory, and a directory cannot take its place");
        if (!isTree && _destination.EndsWith('/'))
            throw new ArchiveException(GuestArchives.NotFound, $"{_destination}: no such directory");
        if (_top == ".")
        {
            FileMaking.TryMakeDirectory(_destination.TrimEnd('/'), 0x1ed);
            return;
        }
        // What a link leads to is replaced, not the link.
        var target = there is not null && FileStatus.Of(_destination, follow: false) is { Kind: FileKind.SymbolicLink }
            ? File.ResolveLinkTarget(_destination, returnFinalTarget: true)?.FullName ?? _destination
            : _destination.TrimEnd('/');
        _base = Path.GetDirectoryName(target) ?? "/";
        _rename = Path.GetFileName(target);
        if (FileStatus.Of(_base, follow: true) is not { Kind: FileKind.Directory })
            throw new ArchiveException(GuestArchives.NotFound, $"{_base}: no such directory");
    }

    private void Make(TarEntry entry)
    {
        var path = PathOf(entry.Name);
        // The destination itself, which is there.
        if (path is null)
            return;
        var mode = (uint)entry.Mode & 0xfff;
        if (entry.EntryType == TarEntryType.Directory)
        {
            if (FileStatus.Of(path, follow: true) is { Kind: FileKind.Directory })
                return;
            Clear(path);
            MakeParents(path);
            FileMaking.TryMakeDirectory(path, 0x1c0);
            Dress(path, entry, mode);
            _directories.Add((path, Nanoseconds(entry.ModificationTime)));
            return;
        }
        Clear(path);
        MakeParents(path);
        switch (entry.EntryType)
        {
            case TarEntryType.RegularFile or TarEntryType.V7RegularFile or TarEntryType.ContiguousFile:
                using (var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0))
                    entry.DataStream?.CopyTo(file, 128 * 1024);
                break;
            case TarEntryType.SymbolicLink:
                FileMaking.MakeSymbolicLink(entry.LinkName, path);
                FileMaking.SetOwner(path, (uint)entry.Uid, (uint)entry.Gid);
                FileMaking.SetModified(path, Nanoseconds(entry.ModificationTime));
                return;
            case TarEntryType.HardLink:
                FileMaking.MakeHardLink(PathOf(entry.LinkName) ?? _destination, path);
                return;
            case TarEntryType.Fifo:
                FileMaking.MakeNode(path, FileKind.Fifo, mode, 0, 0);
                break;
            case TarEntryType.CharacterDevice or TarEntryType.BlockDevice when entry is PosixTarEntry device:
                var kind = entry.EntryType == TarEntryType.BlockDevice ? FileKind.BlockDevice : FileKind.CharacterDevice;
                FileMaking.MakeNode(path, kind, mode, device.DeviceMajor, device.DeviceMinor);
                break;
            default:
                throw new ArchiveException(GuestArchives.Unsuitable, $"{entry.Name}: an archive entry of type {entry.EntryType} cannot be unpacked");
        }
        Dress(path, entry, mode);
        FileMaking.SetModified(path, Nanoseconds(entry.ModificationTime));
    }

    /// <summary>The owner first: giving a file away takes set-id bits off.</summary>
    private static void Dress(string path, TarEntry entry, uint mode)
    {
        FileMaking.SetOwner(path, (uint)entry.Uid, (uint)entry.Gid);
        FileMaking.SetMode(path, mode);
    }

    /// <summary>A file gives way to what is unpacked in its place; a directory does not.</summary>
    private static void Clear(string path)
    {
        if (FileStatus.Of(path, follow: false) is not { } there)
            return;
        if (there.Kind == FileKind.Directory)
            throw new ArchiveException(GuestArchives.Unsuitable, $"{path}: is a directory, and a file cannot take its place");
        FileMaking.Remove(path);
    }

    private static void MakeParents(string path)
    {
        if (Path.GetDirectoryName(path) is { Length: > 1 } parent && FileStatus.Of(parent, follow: true) is null)
            FileSystems.MakeDirectories(parent);
    }

    /// <summary>Null = the destination itself.</summary>
    private string? PathOf(string name)
    {
        var parts = name.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(static part => part != ".").ToList();
        if (parts.Contains(".."))
            throw new ArchiveException(GuestArchives.Unsuitable, $"{name}: a name in the archive leads upwards");
        if (_rename is not null)
        {
            if (parts.Count == 0 || parts[0] != _top)
                throw new ArchiveException(GuestArchives.Unsuitable, $"{name}: not below {_top}, which the archive was said to hold");
            parts[0] = _rename;
        }
        return parts.Count == 0 ? null : Path.Join(_base, string.Join('/', parts));
    }

    private static long Nanoseconds(DateTimeOffset time) => (time - DateTimeOffset.UnixEpoch).Ticks * 100;
}
