using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Images.Erofs;

/// <summary>
/// Reads an EROFS file that <see cref="ErofsWriter"/> wrote: what it never writes (compression, chunks, shared attributes) counts
/// as damage, and so does whatever points outside of the file.
/// </summary>
internal sealed class ErofsImage : IDisposable
{
    private const int MaxXattrBytes = 4 + (4 * ushort.MaxValue);

    private readonly SafeFileHandle _file;
    private readonly string _path;
    private readonly long _length;

    private ErofsImage(SafeFileHandle file, string path)
    {
        _file = file;
        _path = path;
        _length = RandomAccess.GetLength(file);
    }

    public ulong Root { get; private init; }

    /// <summary>The image's creation time in seconds since 1970; 0 when it has none.</summary>
    public long BuildTime { get; private init; }

    /// <exception cref="ImageException"><c>image-damaged</c>: not one of ours.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static ErofsImage Open(string path)
    {
        var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        try
        {
            var block = new byte[ErofsFormat.BlockSize];
            var read = RandomAccess.Read(file, block, 0);
            if (read < block.Length || !ErofsFormat.TryReadSuperblock(block, out var root, out var buildTime))
                throw new ImageException("image-damaged", $"{path} is not a root file system of Ravel's");
            return new ErofsImage(file, path) { Root = root, BuildTime = buildTime };
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public void Dispose() => _file.Dispose();

    public ErofsNode ReadNode(ulong number)
    {
        Span<byte> inode = stackalloc byte[ErofsFormat.ExtendedInodeSize];
        var offset = number <= (ulong)_length / ErofsFormat.SlotSize ? (long)number * ErofsFormat.SlotSize : throw Damaged();
        inode = inode[..RandomAccess.Read(_file, inode, offset)];
        if (inode.Length < ErofsFormat.CompactInodeSize)
            throw Damaged();
        var format = BinaryPrimitives.ReadUInt16LittleEndian(inode);
        var isExtended = (format & 1) != 0;
        if (format >> 1 is not (0 or 2) || (isExtended && inode.Length < ErofsFormat.ExtendedInodeSize))
            throw Damaged();
        var head = isExtended ? ErofsFormat.ExtendedInodeSize : ErofsFormat.CompactInodeSize;
        var xattrs = ReadXattrs(offset + head, BinaryPrimitives.ReadUInt16LittleEndian(inode[2..]));
        var mode = BinaryPrimitives.ReadUInt16LittleEndian(inode[4..]);
        var size = isExtended ? BinaryPrimitives.ReadInt64LittleEndian(inode[8..]) : BinaryPrimitives.ReadUInt32LittleEndian(inode[8..]);
        var start = BinaryPrimitives.ReadUInt32LittleEndian(inode[16..]);
        var type = (InodeType)(mode & 0xf000);
        if (size < 0 || !Enum.IsDefined(type))
            throw Damaged();
        var node = new ErofsNode
        {
            Number = number,
            Attributes = new InodeAttributes(
                type,
                (ushort)(mode & 0xfff),
                isExtended ? BinaryPrimitives.ReadUInt32LittleEndian(inode[24..]) : BinaryPrimitives.ReadUInt16LittleEndian(inode[24..]),
                isExtended ? BinaryPrimitives.ReadUInt32LittleEndian(inode[28..]) : BinaryPrimitives.ReadUInt16LittleEndian(inode[26..]),
                isExtended ? BinaryPrimitives.ReadInt64LittleEndian(inode[32..]) : BuildTime,
                isExtended ? BinaryPrimitives.ReadUInt32LittleEndian(inode[40..]) : 0,
                xattrs,
                type is InodeType.BlockDevice or InodeType.CharacterDevice ? start : 0),
            Links = isExtended ? BinaryPrimitives.ReadUInt32LittleEndian(inode[44..]) : BinaryPrimitives.ReadUInt16LittleEndian(inode[6..]),
            Size = size,
            DataOffset = (long)start << ErofsFormat.BlockBits,
            TailOffset = offset + head + xattrs.Length,
            TailLength = format >> 1 == 2 ? (int)(size % ErofsFormat.BlockSize) : 0,
        };
        var hasContent = type is InodeType.Regular or InodeType.Directory or InodeType.SymbolicLink;
        var whole = size - node.TailLength;
        if (hasContent && ((whole > 0 && whole > _length - node.DataOffset) || node.TailLength > _length - node.TailOffset))
            throw Damaged();
        return node;
    }

    /// <summary>Content from an offset on, as much as the buffer takes and the file has.</summary>
    public int ReadContent(ErofsNode node, long offset, Span<byte> buffer)
    {
        var whole = node.Size - node.TailLength;
        var (from, left) = offset < whole
            ? (node.DataOffset + offset, whole - offset)
            : (node.TailOffset + offset - whole, node.Size - offset);
        var read = RandomAccess.Read(_file, buffer[..(int)Math.Min(buffer.Length, left)], from);
        return read > 0 || left == 0 || buffer.IsEmpty ? read : throw Damaged();
    }

    /// <summary>All of a link's target or a directory.</summary>
    public byte[] ReadWhole(ErofsNode node, long most)
    {
        if (node.Size > most)
            throw Damaged();
        var content = new byte[node.Size];
        for (var done = 0; done < content.Length;)
            done += ReadContent(node, done, content.AsSpan(done));
        return content;
    }

    /// <summary>The names in a directory in the order of their bytes, without the dot entries.</summary>
    public List<(byte[] Name, ulong Number)> ReadDirectory(ErofsNode directory)
    {
        var content = ReadWhole(directory, int.MaxValue / 2);
        var entries = new List<(byte[] Name, ulong Number)>();
        for (var start = 0; start < content.Length; start += ErofsFormat.BlockSize)
        {
            var block = content.AsSpan(start, Math.Min(ErofsFormat.BlockSize, content.Length - start));
            if (block.Length < ErofsFormat.DirentSize)
                throw Damaged();
            var count = NameOffset(block, 0) / ErofsFormat.DirentSize;
            for (var i = 0; i < count; i++)
            {
                int from = NameOffset(block, i);
                var to = i + 1 < count ? NameOffset(block, i + 1) : block.Length;
                if (from > to || to > block.Length)
                    throw Damaged();
                var name = block[from..to].TrimEnd((byte)0);
                if (name.IsEmpty || name.Length > ErofsFormat.MaxNameLength || name.Contains((byte)'/'))
                    throw Damaged();
                if (!name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8))
                    entries.Add((name.ToArray(), BinaryPrimitives.ReadUInt64LittleEndian(block[(i * ErofsFormat.DirentSize)..])));
            }
        }
        return entries;
    }

    public ImageException Damaged() => new("image-damaged", $"{_path} is damaged; pull or import the image again");

    private ushort NameOffset(ReadOnlySpan<byte> block, int entry)
    {
        var at = (entry * ErofsFormat.DirentSize) + 8;
        return at + 2 <= block.Length ? BinaryPrimitives.ReadUInt16LittleEndian(block[at..]) : throw Damaged();
    }

    private byte[] ReadXattrs(long offset, ushort count)
    {
        if (count == 0)
            return [];
        var encoded = new byte[Math.Min(XattrEncoder.LengthOf(count), MaxXattrBytes)];
        return RandomAccess.Read(_file, encoded, offset) == encoded.Length ? encoded : throw Damaged();
    }
}

/// <summary>One inode: what it says, and where its content is.</summary>
internal sealed class ErofsNode
{
    public required ulong Number { get; init; }

    public required InodeAttributes Attributes { get; init; }

    public required uint Links { get; init; }

    public required long Size { get; init; }

    /// <summary>Of the whole blocks, in the file.</summary>
    public required long DataOffset { get; init; }

    public required long TailOffset { get; init; }

    public required int TailLength { get; init; }
}
