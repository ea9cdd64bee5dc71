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
            // A directory named with a slash at its end is followed; so is one whose contents are asked for.
            await using var content = Local(next.Path, () => Find(next.Path, next.Name, keepOwners, isTop && Top == ".", pending));
            // What fails here fails on the way to the server.
            if (content is { Entry: { } entry })
                await writer.WriteEntryAsync(entry, cancellationToken);
            isTop = false;
        }
    }

    private static Found? Find(string path, string name, bool keepOwners, bool follow, Stack<(string Path, string Name)> pending)
    {
        var info = new FileInfo(path);
        if (info.LinkTarget is { } link && !follow)
            return new Found(Dressed(new PaxTarEntry(TarEntryType.SymbolicLink, name) { LinkName = link }, path, info, keepOwners), null);
        if (Directory.Exists(path))
        {
            foreach (var child in Directory.GetFileSystemEntries(path).OrderDescending(StringComparer.Ordinal))
                pending.Push((child, $"{name}/{Path.GetFileName(child)}"));
            return new Found(Dressed(new PaxTarEntry(TarEntryType.Directory, name + "/"), path, info, keepOwners), null);
        }
        // The same order as the guest's; devices and FIFOs of this host are nothing for a machine.
        if ((info.Attributes & (FileAttributes.Device | FileAttributes.ReparsePoint)) != 0 || !info.Exists)
            return null;
        var content = new LocalFile(path);
        return new Found(Dressed(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = content }, path, info, keepOwners), content);
    }

    /// <exception cref="CliException">This host's file system refused.</exception>
    private static T Local<T>(string path, Func<T> act)
    {
        try
        {
            return act();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(path, e.Message.TrimEnd('.'));
        }
    }

    /// <summary>Without an owner it becomes root's.</summary>
    private static PaxTarEntry Dressed(PaxTarEntry entry, string path, FileInfo info, bool keepOwners)
    {
        if (keepOwners)
            (entry.Uid, entry.Gid) = LocalOwner.Of(path);
        if (entry.EntryType != TarEntryType.SymbolicLink)
            entry.Mode = File.GetUnixFileMode(path);
        entry.ModificationTime = info.LastWriteTimeUtc;
        return entry;
    }

    private sealed record Found(PaxTarEntry Entry, LocalFile? Content) : IAsyncDisposable
    {
        public ValueTask DisposeAsync() => Content?.DisposeAsync() ?? ValueTask.CompletedTask;
    }
}
