using System.Buffers.Binary;
using System.Numerics;
using System.Text;

namespace Ravel.Testing.Images;

/// <summary>
/// Reads an EROFS image without a kernel, for tests that need no root: strict about everything Ravel writes, and written
/// from the format's description (Documentation/filesystems/erofs.rst), not from the writer.
/// </summary>
public sealed class ErofsReader
{
    private readonly byte[] _image;

    public ErofsReader(byte[] image)
    {
        _image = image;
        if (BinaryPrimitives.ReadUInt32LittleEndian(image.AsSpan(1024)) != 0xE0F5E1E2)
            throw new InvalidDataException("no EROFS superblock");
        if ((long)BinaryPrimitives.ReadUInt32LittleEndian(image.AsSpan(1024 + 36)) * 4096 != image.Length)
            throw new InvalidDataException("the superblock's block count is not the image's size");
        CheckSum();
    }

    private long BuildTime => BinaryPrimitives.ReadInt64LittleEndian(_image.AsSpan(1024 + 24));

    /// <summary>Every path from <c>/</c> on (bytes as Latin-1).</summary>
    public SortedDictionary<string, ErofsNode> ReadAll()
    {
        var found = new SortedDictionary<string, ErofsNode>(StringComparer.Ordinal);
        var inodes = new HashSet<ulong>();
        var pending = new Stack<(string Path, ulong Number, ulong Parent)>();
        ulong root = BinaryPrimitives.ReadUInt16LittleEndian(_image.AsSpan(1024 + 14));
        pending.Push(("/", root, root));
        while (pending.TryPop(out var next))
        {
            var node = Read(next.Number);
            inodes.Add(next.Number);
            found.Add(next.Path, node);
            if ((node.Mode & 0xf000) != 0x4000)
                continue;
            foreach (var (name, number) in Entries(node, next.Number, next.Parent))
                pending.Push((next.Path == "/" ? $"/{name}" : $"{next.Path}/{name}", number, next.Number));
        }
        if (BinaryPrimitives.ReadUInt64LittleEndian(_image.AsSpan(1024 + 16)) != (ulong)inodes.Count)
            throw new InvalidDataException("the superblock's inode count is wrong");
        return found;
    }

    private void CheckSum()
    {
        var block = _image.AsSpan(1024, 3072).ToArray();
        block.AsSpan(4, 4).Clear();
        var sum = block.Aggregate(uint.MaxValue, BitOperations.Crc32C);
        if (sum != BinaryPrimitives.ReadUInt32LittleEndian(_image.AsSpan(1024 + 4)))
            throw new InvalidDataException("the superblock's checksum is wrong");
    }

    private ErofsNode Read(ulong number)
    {
        var offset = checked((int)(number * 32));
        var inode = _image.AsSpan(offset);
        var format = BinaryPrimitives.ReadUInt16LittleEndian(inode);
        var extended = (format & 1) != 0;
        var layout = format >> 1;
        if (layout is not (0 or 2))
            throw new InvalidDataException($"inode {number} has layout {layout}");
        var xattrCount = BinaryPrimitives.ReadUInt16LittleEndian(inode[2..]);
        var xattrLength = xattrCount == 0 ? 0 : 12 + (4 * (xattrCount - 1));
        var headLength = (extended ? 64 : 32) + xattrLength;
        var size = extended ? BinaryPrimitives.ReadInt64LittleEndian(inode[8..]) : BinaryPrimitives.ReadUInt32LittleEndian(inode[8..]);
        var start = BinaryPrimitives.ReadUInt32LittleEndian(inode[16..]);
        var mode = BinaryPrimitives.ReadUInt16LittleEndian(inode[4..]);
        return new ErofsNode
        {
            Number = number,
            Mode = mode,
            UserId = extended ? BinaryPrimitives.ReadUInt32LittleEndian(inode[24..]) : BinaryPrimitives.ReadUInt16LittleEndian(inode[24..]),
            GroupId = extended ? BinaryPrimitives.ReadUInt32LittleEndian(inode[28..]) : BinaryPrimitives.ReadUInt16LittleEndian(inode[26..]),
            Seconds = extended ? BinaryPrimitives.ReadInt64LittleEndian(inode[32..]) : BuildTime,
            Nanoseconds = extended ? BinaryPrimitives.ReadUInt32LittleEndian(inode[40..]) : 0,
            Links = extended ? BinaryPrimitives.ReadUInt32LittleEndian(inode[44..]) : BinaryPrimitives.ReadUInt16LittleEndian(inode[6..]),
            Device = (mode & 0xf000) is 0x2000 or 0x6000 ? start : 0,
            Xattrs = Xattrs(inode.Slice(extended ? 64 : 32, xattrLength)),
            Content = (mode & 0xf000) is 0x8000 or 0x4000 or 0xa000 ? Content(offset, headLength, layout, start, size) : [],
        };
    }

    private byte[] Content(int inode, int headLength, int layout, uint start, long size)
    {
        var content = new byte[size];
        var tail = layout == 2 ? (int)(size % 4096) : 0;
        if (layout == 2 && tail == 0)
            throw new InvalidDataException("an inode has an inline layout without a tail");
        _image.AsSpan((int)start * 4096 * (size == tail ? 0 : 1), (int)size - tail).CopyTo(content);
        if (tail > 0)
        {
            var at = inode + headLength;
            if (at / 4096 != (at + tail - 1) / 4096)
                throw new InvalidDataException("an inline tail crosses a block");
            _image.AsSpan(at, tail).CopyTo(content.AsSpan((int)size - tail));
        }
        return content;
    }

    private static SortedDictionary<string, string> Xattrs(ReadOnlySpan<byte> block)
    {
        var found = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var rest = block.Length == 0 ? block : block[12..];
        while (rest.Length > 0)
        {
            var prefix = rest[1] switch
            {
                1 => "user.",
                2 => "system.posix_acl_access",
                3 => "system.posix_acl_default",
                4 => "trusted.",
                6 => "security.",
                _ => throw new InvalidDataException($"an extended attribute has prefix {rest[1]}"),
            };
            int valueLength = BinaryPrimitives.ReadUInt16LittleEndian(rest[2..]);
            found.Add(
                prefix + Encoding.Latin1.GetString(rest.Slice(4, rest[0])),
                Encoding.Latin1.GetString(rest.Slice(4 + rest[0], valueLength)));
            rest = rest[((4 + rest[0] + valueLength + 3) & ~3)..];
        }
        return found;
    }

    private static List<(string Name, ulong Number)> Entries(ErofsNode directory, ulong self, ulong parent)
    {
        var entries = new List<(string Name, ulong Number)>();
        var dots = new Dictionary<string, ulong>();
        var last = "";
        for (var start = 0; start < directory.Content.Length; start += 4096)
        {
            var block = directory.Content.AsSpan(start, Math.Min(4096, directory.Content.Length - start));
            var count = BinaryPrimitives.ReadUInt16LittleEndian(block[8..]) / 12;
            for (var i = 0; i < count; i++)
            {
                var dirent = block[(i * 12)..];
                int from = BinaryPrimitives.ReadUInt16LittleEndian(dirent[8..]);
                var to = i + 1 < count ? BinaryPrimitives.ReadUInt16LittleEndian(dirent[20..]) : block.Length;
                var name = Encoding.Latin1.GetString(block[from..to]).TrimEnd('\0');
                if (string.CompareOrdinal(name, last) <= 0)
                    throw new InvalidDataException($"directory entries are out of order at {name}");
                last = name;
                var number = BinaryPrimitives.ReadUInt64LittleEndian(dirent);
                if (name is "." or "..")
                    dots.Add(name, number);
                else
                    entries.Add((name, number));
            }
        }
        if (dots["."] != self || dots[".."] != parent)
            throw new InvalidDataException("dot entries lead to the wrong place");
        return entries;
    }
}

/// <summary>What one inode says.</summary>
public sealed record ErofsNode
{
    public required ulong Number { get; init; }

    public required ushort Mode { get; init; }

    public required uint UserId { get; init; }

    public required uint GroupId { get; init; }

    public required long Seconds { get; init; }

    public required uint Nanoseconds { get; init; }

    public required uint Links { get; init; }

    public required uint Device { get; init; }

    public required SortedDictionary<string, string> Xattrs { get; init; }

    public required byte[] Content { get; init; }

    /// <summary>Content as Latin-1.</summary>
    public string Text => Encoding.Latin1.GetString(Content);
}
