using Ravel.Images.Erofs;

namespace Ravel.Images.Tar;

internal enum TarEntryType
{
    Regular,
    HardLink,
    SymbolicLink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// <summary>One entry as the archive has it, with extension headers applied. Names are bytes and not yet trusted.</summary>
internal sealed class TarEntry
{
    public required TarEntryType Type { get; init; }

    public required byte[] Name { get; init; }

    /// <summary>Of a symbolic or hard link.</summary>
    public required byte[] LinkTarget { get; init; }

    /// <summary>The lower 12 bits of the mode.</summary>
    public required ushort Permissions { get; init; }

    public required uint UserId { get; init; }

    public required uint GroupId { get; init; }

    public required long Seconds { get; init; }

    public required uint Nanoseconds { get; init; }

    /// <summary>The file's size; for a sparse file with its holes.</summary>
    public required long Size { get; init; }

    public required uint DeviceMajor { get; init; }

    public required uint DeviceMinor { get; init; }

    public required IReadOnlyList<Xattr> Xattrs { get; init; }

    /// <summary>Where a sparse file has data, ascending; null for a file without holes.</summary>
    public IReadOnlyList<SparseExtent>? Extents { get; init; }
}

internal readonly record struct SparseExtent(long Offset, long Length);
