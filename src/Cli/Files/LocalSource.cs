using System.Formats.Tar;
using Ravel.Cli.Errors;

namespace Ravel.Cli.Files;

/// <summary>A file or tree of this host, to be sent as a tar archive with one top entry.</summary>
internal sealed class LocalSource
{
    private readonly string _path;

    private LocalSource(string path, string top)
    {
        _path = path;
        Top = top;
    }

    /// <summary>Name of the top entry: the path's last part, or <c>.</c> for what is in a directory.</summary>
    public string Top { get; }

    /// <exception cref="CliException">There is nothing there.</exception>
    public static LocalSource Open(string path, bool follow)
    {
        var contentsOnly = path.EndsWith("/.", StringComparison.Ordinal) || path is "." or "/";
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        if (!Path.Exists(full) && new FileInfo(full).LinkTarget is null)
            throw new CliException(path, "there is no such file or directory");
        if ((contentsOnly || path.EndsWith('/')) && !Directory.Exists(full))
            throw new CliException(path, "is not a directory");
        var name = Path.GetFileName(full);
        if (follow && new FileInfo(full).ResolveLinkTarget(returnFinalTarget: true) is { } target)
            full = target.FullName;
        return new LocalSource(full, contentsOnly || name.Length == 0 ? "." : name);
    }

    /// <exception cref="CliException">A part of it cannot be read.</exception>
    public async Task WriteAsync(Stream to, bool keepOwners, CancellationToken cancellationToken)
    {
        await using var writer = new TarWriter(to, TarEntryFormat.Pax, leaveOpen: true);
        var pending = new Stack<(string Path, string Name)>([(_path, Top)]);
        var isTop = true;
        while (pending.TryPop(out var next))
        {
            try
            {
                // A directory named with a slash at its end is followed; so is one whose contents are asked for.
                await AddAsync(writer, next.Path, next.Name, keepOwners, isTop && Top == ".", pending, cancellationToken);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException && !cancellationToken.IsCancellationRequested && e is not HttpIOException)
            {
                throw new CliException(next.Path, e.Message.TrimEnd('.'));
            }
            isTop = false;
        }
    }

    private static async Task AddAsync(
        TarWriter writer, string path, string name, bool keepOwners, bool follow, Stack<(string Path, string Name)> pending, CancellationToken cancellationToken)
    {
        var info = new FileInfo(path);
        if (info.LinkTarget is { } link && !follow)
        {
            await writer.WriteEntryAsync(Dressed(new PaxTarEntry(TarEntryType.SymbolicLink, name) { LinkName = link }, path, info), cancellationToken);
            return;
        }
        if (Directory.Exists(path))
        {
            if (keepOwners)
                await writer.WriteEntryAsync(path, name, cancellationToken);
            else
                await writer.WriteEntryAsync(Dressed(new PaxTarEntry(TarEntryType.Directory, name + "/"), path, info), cancellationToken);
            foreach (var child in Directory.GetFileSystemEntries(path).OrderDescending(StringComparer.Ordinal))
                pending.Push((child, $"{name}/{Path.GetFileName(child)}"));
            return;
        }
        // The same order as the guest's; devices and FIFOs of this host are nothing for a machine.
        if ((info.Attributes & (FileAttributes.Device | FileAttributes.ReparsePoint)) != 0 || !info.Exists)
            return;
        if (keepOwners)
        {
            await writer.WriteEntryAsync(path, name, cancellationToken);
            return;
        }
        await using var content = new FileStream(
            path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, FileOptions.Asynchronous | FileOptions.SequentialScan);
        await writer.WriteEntryAsync(Dressed(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = content }, path, info), cancellationToken);
    }

    /// <summary>Without an owner it becomes root's.</summary>
    private static PaxTarEntry Dressed(PaxTarEntry entry, string path, FileInfo info)
    {
        if (entry.EntryType != TarEntryType.SymbolicLink)
            entry.Mode = File.GetUnixFileMode(path);
        entry.ModificationTime = info.LastWriteTimeUtc;
        return entry;
    }
}
