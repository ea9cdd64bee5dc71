using System.Buffers.Binary;
using System.Numerics;

namespace Ravel.Images.Erofs;

/// <summary>
/// The on-disk structures of EROFS that Ravel writes: uncompressed, 4 KiB blocks, flat files with and without an inline
/// tail, inline extended attributes. Sources: the Linux kernel's Documentation/filesystems/erofs.rst and
/// fs/erofs/erofs_fs.h. All numbers are little-endian.
/// </summary>
internal static class ErofsFormat
{
    public const int BlockBits = 12;
    public const int BlockSize = 1 << BlockBits;
    public const int SlotSize = 32;
    public const int SuperblockOffset = 1024;
    public const int SuperblockSize = 128;
    public const int CompactInodeSize = 32;
    public const int ExtendedInodeSize = 64;
    public const int DirentSize = 12;
    public const int MaxNameLength = 255;

    /// <summary>The root's number has 16 bits in the superblock, so it stands right behind it (block 0).</summary>
    public const int RootOffset = SuperblockOffset + SuperblockSize;

    private const uint Magic = 0xE0F5E1E2;
    private const uint FeatureChecksum = 0x1;
    private const uint FeatureMtime = 0x2;

    public static long BlocksOf(long bytes) => (bytes + BlockSize - 1) >> BlockBits;

    public static int AlignSlot(int offset) => (offset + SlotSize - 1) & ~(SlotSize - 1);

    /// <summary>Node numbers count 32-byte slots from the start of the file (<c>meta_blkaddr</c> is 0).</summary>
    public static ulong NodeNumber(long offset) => (ulong)offset / SlotSize;

    /// <summary>Fills the superblock of <paramref name="block0"/> and its checksum, which covers the rest of that block.</summary>
    public static void WriteSuperblock(Span<byte> block0, in ErofsSuperblock superblock)
    {
        var b = block0.Slice(SuperblockOffset, SuperblockSize);
        b.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(b, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(b[8..], FeatureChecksum | FeatureMtime);
        b[12] = BlockBits;
        BinaryPrimitives.WriteUInt16LittleEndian(b[14..], (ushort)NodeNumber(RootOffset));
        BinaryPrimitives.WriteUInt64LittleEndian(b[16..], superblock.Inodes);
        BinaryPrimitives.WriteInt64LittleEndian(b[24..], superblock.BuildTime);
        BinaryPrimitives.WriteUInt32LittleEndian(b[36..], superblock.Blocks);
        superblock.Uuid.AsSpan(0, 16).CopyTo(b[48..]);
        "ravel"u8.CopyTo(b[64..]);

        var checksum = uint.MaxValue;
        foreach (var value in block0[SuperblockOffset..BlockSize])
            checksum = BitOperations.Crc32C(checksum, value);
        BinaryPrimitives.WriteUInt32LittleEndian(b[4..], checksum);
    }

    /// <summary>Reads back what <see cref="WriteSuperblock"/> wrote; false when it is of a form that is never written here.</summary>
    public static bool TryReadSuperblock(ReadOnlySpan<byte> block0, out ulong root, out long buildTime)
    {
        var b = block0.Slice(SuperblockOffset, SuperblockSize);
        root = BinaryPrimitives.ReadUInt16LittleEndian(b[14..]);
        buildTime = BinaryPrimitives.ReadInt64LittleEndian(b[24..]);
        return BinaryPrimitives.ReadUInt32LittleEndian(b) == Magic
            && b[12] == BlockBits
            && BinaryPrimitives.ReadUInt32LittleEndian(b[40..]) == 0
            && BinaryPrimitives.ReadUInt32LittleEndian(b[80..]) == 0;
    }

    /// <summary>A device number as inodes hold it (the kernel's <c>new_encode_dev</c>).</summary>
    public static uint EncodeDevice(uint major, uint minor) => (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12);

    public static (uint Major, uint Minor) DecodeDevice(uint device) => ((device & 0xfff00) >> 8, (device & 0xff) | ((device >> 12) & 0xfff00));

    /// <summary>The <c>file_type</c> of a directory entry.</summary>
    public static byte DirentType(InodeType type) => type switch
    {
        InodeType.Regular => 1,
        InodeType.Directory => 2,
        InodeType.CharacterDevice => 3,
        InodeType.BlockDevice => 4,
        InodeType.Fifo => 5,
        InodeType.SymbolicLink => 7,
        _ => throw new ArgumentOutOfRangeException(nameof(type)),
    };
}

/// <param name="Uuid">16 bytes.</param>
internal readonly record struct ErofsSuperblock(ulong Inodes, long BuildTime, uint Blocks, byte[] Uuid);

/// <summary>The type bits of <c>st_mode</c> (inode(7)).</summary>
internal enum InodeType
{
    Fifo = 0x1000,
    CharacterDevice = 0x2000,
    Directory = 0x4000,
    BlockDevice = 0x6000,
    Regular = 0x8000,
    SymbolicLink = 0xA000,
}
