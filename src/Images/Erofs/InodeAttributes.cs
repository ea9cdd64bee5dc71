namespace Ravel.Images.Erofs;

/// <summary>What an inode says besides its content.</summary>
/// <param name="Permissions">The lower 12 bits of the mode.</param>
/// <param name="Nanoseconds">Of the modification time, 0 to 999,999,999, after <paramref name="Seconds"/>.</param>
/// <param name="Xattrs">Encoded by <see cref="XattrEncoder"/>; empty for none.</param>
internal readonly record struct InodeAttributes(
    InodeType Type,
    ushort Permissions,
    uint UserId,
    uint GroupId,
    long Seconds,
    uint Nanoseconds,
    byte[] Xattrs,
    uint Device = 0)
{
    public ushort Mode => (ushort)((int)Type | Permissions);
}
