using System.Formats.Tar;
using System.Text;
using Ravel.Contracts.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Archives;

/// <summary>
/// Writes a file or a tree as a tar archive whose one top entry is called as the last part of its path (<c>.</c> for a path that
/// ends in <c>/.</c>). Owners, modes, times, links and devices are kept; sockets and the kernel's own file systems are left out.
/// </summary>
internal sealed class TreePacker
{
    private const int MaxMounts = 1024 * 1024;

    private static readonly HashSet<string> Pseudo = new(StringComparer.Ordinal)
    {
        "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "debugfs", "tracefs", "securityfs", "bpf",
    };

    private readonly TarWriter _writer;
    private readonly HashSet<string> _pseudo = [];
    private readonly Dictionary<(ulong Device, ulong Inode), string> _linked = [];

    public TreePacker(TarWriter writer) => _writer = writer;

    /// <exception cref="ArchiveException">There is nothing at the path.</exception>
    public void Pack(string path)
    {
        var contentsOnly = path.EndsWith("/.", StringComparison.Ordinal) || path.Trim('/').Length == 0;
        var trimmed = contentsOnly ? path.TrimEnd('.').TrimEnd('/') : path.TrimEnd('/');
        var root = trimmed.Length == 0 ? "/" : trimmed;
        // A path that ends in a slash means the directory that a link leads to.
        var status = FileStatus.Of(root, follow: path.EndsWith('/') || contentsOnly)
            ?? throw new ArchiveException(GuestArchives.NotFound, $"{path}: no such file or directory");
        if (status.Kind != FileKind.Directory && (contentsOnly || path.EndsWith('/')))
            throw new ArchiveException(GuestArchives.Unsuitable, $"{path}: not a directory");
        ReadMounts();

        // Names still to be written, last first: a tree may be deeper than a stack.
        var pending = new Stack<(string Path, string Name)>();
        Add(root, contentsOnly ? "." : Path.GetFileName(root), status, pending);
        while (pending.TryPop(out var next))
        {
            // What vanished meanwhile was not there.
            if (FileStatus.Of(next.Path, follow: false) is { } found)
                Add(next.Path, next.Name, found, pending);
        }
    }

    private void Add(string path, string name, FileStatus status, Stack<(string Path, string Name)> pending)
    {
        var isLinked = status is { Links: > 1, Kind: not FileKind.Directory };
        if (isLinked && _linked.TryGetValue((status.Device, status.Inode), out var first))
        {
            Write(new PaxTarEntry(TarEntryType.HardLink, name) { LinkName = first }, status);
            return;
        }
        switch (status.Kind)
        {
            case FileKind.Regular:
                AddFile(path, name, status);
                break;
            case FileKind.Directory:
                Write(new PaxTarEntry(TarEntryType.Directory, name + "/"), status);
                if (!_pseudo.Contains(path))
                    AddContents(path, name, pending);
                return;
            case FileKind.SymbolicLink:
                Write(new PaxTarEntry(TarEntryType.SymbolicLink, name) { LinkName = FileMaking.ReadLink(path) }, status);
                break;
            case FileKind.Fifo:
                Write(new PaxTarEntry(TarEntryType.Fifo, name), status);
                break;
            case FileKind.CharacterDevice or FileKind.BlockDevice:
                var type = status.Kind == FileKind.BlockDevice ? TarEntryType.BlockDevice : TarEntryType.CharacterDevice;
                Write(new PaxTarEntry(type, name) { DeviceMajor = status.DeviceMajor, DeviceMinor = status.DeviceMinor }, status);
                break;
            default:
                return;
        }
        if (isLinked)
            _linked.Add((status.Device, status.Inode), name);
    }

    private static void AddContents(string path, string name, Stack<(string Path, string Name)> pending)
    {
        // In the order of their names, so that the same tree gives the same bytes.
        var entries = Directory.GetFileSystemEntries(path);
        Array.Sort(entries, StringComparer.Ordinal);
        for (var i = entries.Length - 1; i >= 0; i--)
            pending.Push((entries[i], $"{name}/{Path.GetFileName(entries[i])}"));
    }

    private void AddFile(string path, string name, FileStatus status)
    {
        using var content = new FixedLengthFile(path, status.Size);
        Write(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = content }, status);
    }

    private void Write(PaxTarEntry entry, FileStatus status)
    {
        entry.Mode = (UnixFileMode)status.Mode;
        entry.Uid = (int)status.UserId;
        entry.Gid = (int)status.GroupId;
        entry.ModificationTime = DateTimeOffset.UnixEpoch.AddTicks(status.Modified / 100);
        _writer.WriteEntry(entry);
    }

    private void ReadMounts()
    {
        var mounts = Encoding.UTF8.GetString(FileSystems.ReadFile("/proc/self/mounts", MaxMounts) ?? []);
        foreach (var line in mounts.Split('\n'))
        {
            var fields = line.Split(' ');
            if (fields.Length > 2 && Pseudo.Contains(fields[2]))
                _pseudo.Add(fields[1]);
        }
    }
}
