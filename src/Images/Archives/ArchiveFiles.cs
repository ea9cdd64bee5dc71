using System.Text;
using Microsoft.Win32.SafeHandles;
using Ravel.Images.Layers;
using Ravel.Images.Tar;

namespace Ravel.Images.Archives;

/// <summary>The members of a tar archive, found in one pass over its headers and read where they are.</summary>
internal sealed class ArchiveFiles : IBlobFiles
{
    private const int MaxMembers = 100_000;
    private const int MaxLinks = 8;

    /// <summary>Names stay in memory. Those of an image's archive have some 80 bytes.</summary>
    private const long MaxNameBytes = 16L << 20;

    private readonly SafeFileHandle _file;
    private readonly Dictionary<string, Member> _members;

    private ArchiveFiles(SafeFileHandle file, Dictionary<string, Member> members)
    {
        _file = file;
        _members = members;
    }

    /// <param name="scratch">A directory for the inflated form of a compressed archive.</param>
    /// <exception cref="ImageException">
    /// <c>image-invalid</c>: not a tar archive, a damaged one, or one over a limit; <c>disk-full</c>: no room to inflate it.
    /// </exception>
    public static ArchiveFiles Read(string path, string scratch, ImageLimits limits, CancellationToken cancellationToken)
    {
        var file = SpooledArchive.Open(path, scratch, limits, cancellationToken);
        try
        {
            return new ArchiveFiles(file, FindMembers(file, path, cancellationToken));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public bool Has(string path) => Find(path) is not null;

    Stream? IBlobFiles.Open(string path) => Find(path) is { } member ? new FilePart(_file, member.Offset, member.Length) : null;

    public void Dispose() => _file.Dispose();

    private static Dictionary<string, Member> FindMembers(SafeFileHandle file, string path, CancellationToken cancellationToken)
    {
        var members = new Dictionary<string, Member>(StringComparer.Ordinal);
        var length = RandomAccess.GetLength(file);
        var source = new HandleByteSource(file, length);
        var reader = new TarReader(source);
        var count = 0;
        long nameBytes = 0;
        try
        {
            while (reader.Next() is { } entry)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (++count > MaxMembers)
                    throw new ImageException("image-invalid", $"it has over {MaxMembers} members");
                nameBytes += entry.Name.Length + entry.LinkTarget.Length;
                if (nameBytes > MaxNameBytes)
                    throw new ImageException("image-invalid", $"the names of its members have over {MaxNameBytes} bytes");
                if (entry.Type == TarEntryType.Regular && entry.Size > length - source.Position)
                    throw new ImageException("image-invalid", "it ends before its last member is complete");
                var name = Normalize(Encoding.UTF8.GetString(entry.Name));
                var link = entry.Type switch
                {
                    TarEntryType.SymbolicLink => Normalize(Path.Combine(Path.GetDirectoryName(name) ?? "", Encoding.UTF8.GetString(entry.LinkTarget))),
                    TarEntryType.HardLink => Normalize(Encoding.UTF8.GetString(entry.LinkTarget)),
                    _ => null,
                };
                if (entry.Extents is null && (entry.Type == TarEntryType.Regular || link is not null))
                    members[name] = new Member(source.Position, entry.Size, link);
            }
        }
        catch (ImageException e)
        {
            throw new ImageException(e.Code, $"{path} is not an archive of an image, or a damaged one: {e.Message}", e);
        }
        return members;
    }

    private Member? Find(string path)
    {
        var name = Normalize(path);
        for (var links = 0; links < MaxLinks; links++)
        {
            if (!_members.TryGetValue(name, out var member))
                return null;
            if (member.Link is null)
                return member;
            name = member.Link;
        }
        return null;
    }

    /// <summary>Names inside the archive only: there is no file system to escape to.</summary>
    private static string Normalize(string path)
    {
        var parts = new List<string>();
        foreach (var part in path.Split('/'))
        {
            if (part is "" or ".")
                continue;
            if (part == "..")
            {
                if (parts.Count > 0)
                    parts.RemoveAt(parts.Count - 1);
                continue;
            }
            parts.Add(part);
        }
        return string.Join('/', parts);
    }

    private sealed record Member(long Offset, long Length, string? Link);

    /// <summary>Skips large members without reading them.</summary>
    private sealed class HandleByteSource(SafeFileHandle file, long length) : ByteSource
    {
        private readonly byte[] _buffer = new byte[4096];
        private long _position;

        protected override ReadOnlyMemory<byte> NextChunk()
        {
            var read = RandomAccess.Read(file, _buffer, _position);
            _position += read;
            return _buffer.AsMemory(0, read);
        }

        protected override bool TrySeek(long count)
        {
            if (count > length - _position)
                return false;
            _position += count;
            return true;
        }
    }
}
