using System.Buffers.Binary;

namespace Ravel.Images.Erofs;

/// <summary>Where a written inode and its data are, so that links can be counted and dead ones erased.</summary>
internal sealed class ErofsInode
{
    /// <summary>In the file; a multiple of 32.</summary>
    public long Offset { get; init; }

    /// <summary>Inode, extended attributes and inline tail.</summary>
    public int Length { get; init; }

    public uint FirstBlock { get; init; }

    public uint Blocks { get; init; }

    public InodeType Type { get; init; }

    public bool Extended { get; init; }

    public uint Links { get; set; } = 1;

    /// <summary>How an inode's attributes and size decide its form and the place of its last bytes.</summary>
    /// <param name="InlineLength">Bytes of the last, partial block that stand behind the inode.</param>
    internal readonly record struct Shape(bool Extended, int HeadLength, int InlineLength)
    {
        public int Length => HeadLength + InlineLength;

        public static Shape Of(in InodeAttributes attributes, long size, long buildTime, uint links = 1)
        {
            var extended = attributes.Seconds != buildTime || attributes.Nanoseconds != 0
                || attributes.UserId > ushort.MaxValue || attributes.GroupId > ushort.MaxValue || size > uint.MaxValue || links > ushort.MaxValue;
            var head = (extended ? ErofsFormat.ExtendedInodeSize : ErofsFormat.CompactInodeSize) + attributes.Xattrs.Length;
            var tail = (int)(size % ErofsFormat.BlockSize);
            // The kernel wants an inline tail inside one block; an inode that large keeps its tail with the other data.
            return new Shape(extended, head, head + tail <= ErofsFormat.BlockSize ? tail : 0);
        }
    }

    /// <summary>Writes inode and extended attributes to the start of <paramref name="target"/>.</summary>
    /// <param name="dataStart">First data block, or the encoded device.</param>
    internal static void Write(
        Span<byte> target, in InodeAttributes attributes, in Shape shape, long size, uint dataStart, uint links, uint number)
    {
        var layout = shape.InlineLength > 0 ? 2 : 0;
        BinaryPrimitives.WriteUInt16LittleEndian(target, (ushort)((layout << 1) | (shape.Extended ? 1 : 0)));
        BinaryPrimitives.WriteUInt16LittleEndian(target[2..], XattrEncoder.Count(attributes.Xattrs));
        BinaryPrimitives.WriteUInt16LittleEndian(target[4..], attributes.Mode);
        BinaryPrimitives.WriteUInt32LittleEndian(target[16..], dataStart);
        BinaryPrimitives.WriteUInt32LittleEndian(target[20..], number);
        if (shape.Extended)
        {
            BinaryPrimitives.WriteInt64LittleEndian(target[8..], size);
            BinaryPrimitives.WriteUInt32LittleEndian(target[24..], attributes.UserId);
            BinaryPrimitives.WriteUInt32LittleEndian(target[28..], attributes.GroupId);
            BinaryPrimitives.WriteInt64LittleEndian(target[32..], attributes.Seconds);
            BinaryPrimitives.WriteUInt32LittleEndian(target[40..], attributes.Nanoseconds);
            BinaryPrimitives.WriteUInt32LittleEndian(target[44..], links);
            attributes.Xattrs.CopyTo(target[ErofsFormat.ExtendedInodeSize..]);
        }
        else
        {
            BinaryPrimitives.WriteUInt16LittleEndian(target[6..], (ushort)links);
            BinaryPrimitives.WriteUInt32LittleEndian(target[8..], (uint)size);
            BinaryPrimitives.WriteUInt16LittleEndian(target[24..], (ushort)attributes.UserId);
            BinaryPrimitives.WriteUInt16LittleEndian(target[26..], (ushort)attributes.GroupId);
            attributes.Xattrs.CopyTo(target[ErofsFormat.CompactInodeSize..]);
        }
    }

    /// <summary>Where the link count stands in the file, and its bytes.</summary>
    internal (long Offset, byte[] Value) LinkCount()
    {
        var value = new byte[Extended ? 4 : 2];
        if (Extended)
            BinaryPrimitives.WriteUInt32LittleEndian(value, Links);
        else
            BinaryPrimitives.WriteUInt16LittleEndian(value, (ushort)Links);
        return (Offset + (Extended ? 44 : 6), value);
    }
}
