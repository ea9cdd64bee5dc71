using System.Formats.Tar;
using Ravel.Cli.Errors;
using Ravel.Cli.Processes;

namespace Ravel.Cli.Files;

/// <summary>
/// Unpacks what a machine sends, and a machine may send anything. All of it stays below the one name it was asked for:
/// <list type="bullet">
/// <item>a name that leads upwards, or does not begin with the one asked for, ends the copy: a machine does not choose what a file here is called;</item>
/// <item>nothing is written through a symbolic link: links are made last, and one that is there already ends the copy;</item>
/// <item>a hard link may only be to a file that came in the same copy;</item>
/// <item>set-id bits, owners and devices are left behind.</item>
/// </list>
/// </summary>
internal sealed class LocalTarget
{
    private const int MaxSkipped = 20;

    private const UnixFileMode Permissions =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
        | UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
        | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    private readonly string _asked;
    private readonly List<string> _skipped = [];
    private readonly HashSet<string> _safeDirectories = [];
    private readonly HashSet<string> _files = [];
    private readonly List<(string Path, string Target)> _links = [];
    private readonly List<(string Path, UnixFileMode Mode, DateTimeOffset Modified)> _directories = [];
    private readonly string _top;
    private string? _base;
    private string? _rename;

    /// <param name="asked">Where it goes.</param>
    /// <param name="source">The machine's path that was asked for.</param>
    public LocalTarget(string asked, string source)
    {
        _asked = asked;
        // As ravel-init calls it: the last part, and for what is in a directory (also in the root) a dot.
        var trimmed = source.TrimEnd('/');
        _top = trimmed.Length == 0 ? "." : trimmed[(trimmed.LastIndexOf('/') + 1)..];
    }

    /// <returns>What was left out, in words.</returns>
    /// <exception cref="CliException">The archive or the destination does not allow it.</exception>
    public async Task<IReadOnlyList<string>> UnpackAsync(Stream archive, CancellationToken cancellationToken)
    {
        try
        {
            await using var bounded = new BoundedReads(archive);
            await using var reader = new TarReader(bounded, leaveOpen: true);
            while (await reader.GetNextEntryAsync(copyData: false, cancellationToken) is { } entry)
            {
                if (entry.EntryType is TarEntryType.GlobalExtendedAttributes)
                    continue;
                if (_base is null)
                    Settle(entry.EntryType == TarEntryType.Directory);
                await MakeAsync(entry, cancellationToken);
            }
            if (_base is null)
                throw new CliException(_asked, "the machine sent nothing");
            foreach (var (path, target) in _links)
            {
                Clear(path);
                File.CreateSymbolicLink(path, target);
            }
            // Last: what is made in a directory changes its time, and may need to be allowed.
            for (var i = _directories.Count - 1; i >= 0; i--)
            {
                File.SetUnixFileMode(_directories[i].Path, _directories[i].Mode);
                Directory.SetLastWriteTimeUtc(_directories[i].Path, _directories[i].Modified.UtcDateTime);
            }
            return _skipped;
        }
        catch (Exception e) when (e is InvalidDataException or FormatException or EndOfStreamException or ArgumentException)
        {
            throw new CliException(_asked, $"the archive the machine sent is broken: {e.Message.TrimEnd('.')}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or HttpRequestException)
        {
            throw new CliException(_asked, e.Message.TrimEnd('.'));
        }
    }

    /// <summary>Where it goes, as cp decides it.</summary>
    private void Settle(bool isTree)
    {
        var full = Path.GetFullPath(_asked);
        if (Directory.Exists(full))
        {
            _base = Path.TrimEndingDirectorySeparator(full);
        }
        else if (isTree && Path.Exists(full))
        {
            throw new CliException(_asked, "is not a directory, and a directory cannot take its place");
        }
        else if (!isTree && _asked.EndsWith('/'))
        {
            throw new CliException(_asked, "there is no such directory");
        }
        else
        {
            full = Path.TrimEndingDirectorySeparator(full);
            _base = Path.GetDirectoryName(full) ?? "/";
            if (!Directory.Exists(_base))
                throw new CliException(_base, "there is no such directory");
            if (_top == ".")
            {
                Directory.CreateDirectory(full);
                _base = full;
            }
            else
            {
                _rename = Path.GetFileName(full);
            }
        }
        // The way here is the caller's own; what is below it is not to be trusted.
        _safeDirectories.Add(_base);
    }

    private async Task MakeAsync(TarEntry entry, CancellationToken cancellationToken)
    {
        var path = PathOf(entry.Name);
        if (path == _base)
            return;
        MakeParents(path);
        switch (entry.EntryType)
        {
            case TarEntryType.Directory:
                if (!_safeDirectories.Contains(path) && !IsRealDirectory(path))
                {
                    Clear(path);
                    Directory.CreateDirectory(path);
                    _directories.Add((path, entry.Mode & Permissions, entry.ModificationTime));
                }
                _safeDirectories.Add(path);
                break;
            case TarEntryType.RegularFile or TarEntryType.V7RegularFile or TarEntryType.ContiguousFile:
                Clear(path);
                // Exclusive: never the target of a link that somebody puts there meanwhile.
                await using (var file = new FileStream(path, new FileStreamOptions
                {
                    Mode = FileMode.CreateNew,
                    Access = FileAccess.Write,
                    Share = FileShare.None,
                    BufferSize = 0,
                    Options = FileOptions.Asynchronous,
                    UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
                }))
                {
                    if (entry.DataStream is { } content)
                        await content.CopyToAsync(file, 128 * 1024, cancellationToken);
                }
                File.SetUnixFileMode(path, entry.Mode & Permissions);
                File.SetLastWriteTimeUtc(path, entry.ModificationTime.UtcDateTime);
                _files.Add(path);
                break;
            case TarEntryType.SymbolicLink:
                _links.Add((path, entry.LinkName));
                break;
            case TarEntryType.HardLink:
                await LinkAsync(PathOf(entry.LinkName), path, cancellationToken);
                break;
            default:
                Skip($"{entry.Name}: left out, as it is a {entry.EntryType}");
                break;
        }
    }

    private async Task LinkAsync(string existing, string path, CancellationToken cancellationToken)
    {
        // A link to a link, which is made later, is left out with it.
        if (!_files.Contains(existing))
        {
            Skip($"{path}: left out, as it is a link to what did not come as a file");
            return;
        }
        Clear(path);
        // link(2) belongs to Linux, which this project may not reference; every host has coreutils.
        if (await Programs.CaptureAsync("ln", ["--", existing, path], cancellationToken, quiet: true) is not (0, _))
            throw new IOException($"{path} cannot be made a link");
        _files.Add(path);
    }

    private void MakeParents(string path)
    {
        var missing = new Stack<string>();
        for (var parent = Path.GetDirectoryName(path)!; !_safeDirectories.Contains(parent); parent = Path.GetDirectoryName(parent)!)
            missing.Push(parent);
        foreach (var directory in missing)
        {
            if (!IsRealDirectory(directory))
            {
                if (new FileInfo(directory) is { LinkTarget: not null } or { Exists: true })
                    throw new CliException(directory, "is not a directory of its own, so that nothing is written below it");
                Directory.CreateDirectory(directory);
            }
            _safeDirectories.Add(directory);
        }
    }

    /// <summary>A file or link gives way; a directory does not.</summary>
    private static void Clear(string path)
    {
        if (IsRealDirectory(path))
            throw new CliException(path, "is a directory, and a file cannot take its place");
        // Of the name, not of what a link leads to.
        File.Delete(path);
    }

    private static bool IsRealDirectory(string path) => Directory.Exists(path) && new DirectoryInfo(path).LinkTarget is null;

    private string PathOf(string name)
    {
        var parts = PartsOf(name);
        if (_top != "." && (parts.Count == 0 || parts[0] != _top))
            throw new CliException(_asked, $"the machine sent {name}, which is not below {_top}, as was asked for");
        if (_rename is not null)
            parts[0] = _rename;
        return parts.Count == 0 ? _base! : Path.Join(_base, string.Join('/', parts));
    }

    private List<string> PartsOf(string name)
    {
        var parts = name.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(static part => part != ".").ToList();
        return name.StartsWith('/') || parts.Contains("..") || name.Contains('\0')
            ? throw new CliException(_asked, $"the machine sent {name}, which leads out of the destination")
            : parts;
    }

    private void Skip(string what)
    {
        if (_skipped.Count < MaxSkipped)
            _skipped.Add(what);
    }
}
