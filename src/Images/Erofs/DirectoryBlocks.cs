using System.Buffers.Binary;

namespace Ravel.Images.Erofs;

/// <summary>
/// Directory content (erofs.rst, "Directories"): entries in ascending order of their names' bytes, dot entries
/// included, packed into blocks of their own: first the fixed entries, then the names.
/// </summary>
internal static class DirectoryBlocks
{
    /// <summary>The size of a directory with these names, in the order they will be written.</summary>
    public static long SizeOf(IReadOnlyList<DirectoryEntry> entries)
    {
        long full = 0;
        var used = 0;
        foreach (var entry in entries)
        {
            var need = ErofsFormat.DirentSize + entry.Name.Length;
            if (used + need > ErofsFormat.BlockSize)
            {
                full += ErofsFormat.BlockSize;
                used = 0;
            }
            used += need;
        }
        return full + used;
    }

    /// <summary>
    /// Writes the block that starts with entry <paramref name="first"/>. A block that is not the directory's last is
    /// filled with zeros, which end its last name.
    /// </summary>
    /// <returns>The entry the next block starts with, and the bytes used in this one.</returns>
    public static (int Next, int Used) WriteBlock(IReadOnlyList<DirectoryEntry> entries, int first, Span<byte> block)
    {
        var next = first;
        var used = 0;
        while (next < entries.Count && used + ErofsFormat.DirentSize + entries[next].Name.Length <= ErofsFormat.BlockSize)
            used += ErofsFormat.DirentSize + entries[next++].Name.Length;

        var nameOffset = (next - first) * ErofsFormat.DirentSize;
        for (var i = first; i < next; i++)
        {
            var entry = entries[i];
            var dirent = block[((i - first) * ErofsFormat.DirentSize)..];
            BinaryPrimitives.WriteUInt64LittleEndian(dirent, entry.NodeNumber);
            BinaryPrimitives.WriteUInt16LittleEndian(dirent[8..], (ushort)nameOffset);
            dirent[10] = ErofsFormat.DirentType(entry.Type);
            dirent[11] = 0;
            entry.Name.CopyTo(block[nameOffset..]);
            nameOffset += entry.Name.Length;
        }
        block[used..Math.Min(block.Length, ErofsFormat.BlockSize)].Clear();
        return (next, used);
    }
}

internal readonly record struct DirectoryEntry(byte[] Name, ulong NodeNumber, InodeType Type);
