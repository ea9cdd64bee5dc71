using System.Text;
using Ravel.Images.Layers;
using Ravel.Images.Tar;

namespace Ravel.Images.Archives;

/// <summary>The members of a tar archive on disk, found in one pass over its headers and read where they are.</summary>
internal sealed class ArchiveFiles : IBlobFiles
{
    private const int MaxMembers = 100_000;
    private const int MaxLinks = 8;

    private readonly string _path;
    private readonly Dictionary<string, Member> _members;

    private ArchiveFiles(string path, Dictionary<string, Member> members)
    {
        _path = path;
        _members = members;
    }

    /// <exception cref="ImageException"><c>image-invalid</c>: not a tar archive, or a damaged one.</exception>
    public static ArchiveFiles Read(string path)
    {
        var members = new Dictionary<string, Member>(StringComparer.Ordinal);
        using var stream = OpenFile(path);
        using var start = OpenFile(path);
        Span<byte> magic = stackalloc byte[4];
        if (start.ReadAtLeast(magic, 4, throwOnEndOfStream: false) == 4 && (magic is [0x1f, 0x8b, ..] || magic is [0x28, 0xb5, 0x2f, 0xfd]))
            throw new ImageException("image-invalid", $"{path} is compressed; decompress it first");
        var source = new SeekingByteSource(stream);
        var reader = new TarReader(source);
        while (reader.Next() is { } entry)
        {
            if (members.Count >= MaxMembers)
                throw new ImageException("image-invalid", $"{path} has over {MaxMembers} members");
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
        return new ArchiveFiles(path, members);
    }

    public bool Has(string path) => Find(path) is not null;

    Stream? IBlobFiles.Open(string path) =>
        Find(path) is { } member ? new FilePart(OpenFile(_path), member.Offset, member.Length) : null;

    public void Dispose()
    {
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

    private static FileStream OpenFile(string path) =>
        new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.SequentialScan);

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
    private sealed class SeekingByteSource(FileStream stream) : ByteSource
    {
        private readonly byte[] _buffer = new byte[4096];

        protected override ReadOnlyMemory<byte> NextChunk() => _buffer.AsMemory(0, stream.Read(_buffer));

        protected override bool TrySeek(long count)
        {
            if (count > stream.Length - stream.Position)
                return false;
            stream.Seek(count, SeekOrigin.Current);
            return true;
        }
    }
}
