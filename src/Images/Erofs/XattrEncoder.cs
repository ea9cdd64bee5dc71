using System.Buffers.Binary;

namespace Ravel.Images.Erofs;

/// <summary>Extended attributes as they stand behind an inode (erofs_fs.h, <c>erofs_xattr_ibody_header</c> and entries).</summary>
internal static class XattrEncoder
{
    private const int HeaderSize = 12;
    private const int EntrySize = 4;
    private const int MaxNameLength = 255;
    private const int MaxValueLength = 65535;

    /// <summary>No file system of Linux takes more for one inode.</summary>
    private const int MaxTotal = 64 * 1024;

    private static readonly (byte[] Prefix, byte Index)[] Prefixes = [("user."u8.ToArray(), 1), ("trusted."u8.ToArray(), 4), ("security."u8.ToArray(), 6)];

    /// <summary>
    /// What is not carried over: labels of the builder's own security policy (as umoci leaves them out), and the
    /// private marks of overlayfs, which would steer the guest's overlay on top of this file system.
    /// </summary>
    private static bool IsIgnored(ReadOnlySpan<byte> name) =>
        name.SequenceEqual("security.selinux"u8) || name.StartsWith("trusted.overlay."u8);

    /// <summary>Encodes in a canonical order.</summary>
    /// <returns>Empty when nothing is left to encode; a name whose prefix EROFS cannot hold exists in no guest and is left out.</returns>
    /// <exception cref="ImageException"><c>image-invalid</c>: a name or value over the limits of Linux.</exception>
    public static byte[] Encode(IReadOnlyList<Xattr> xattrs)
    {
        var entries = new List<(byte Index, byte[] Suffix, byte[] Value)>(xattrs.Count);
        var length = HeaderSize;
        foreach (var (name, value) in xattrs)
        {
            if (IsIgnored(name) || Split(name) is not { } split)
                continue;
            if (split.Suffix.Length > MaxNameLength || value.Length > MaxValueLength)
                throw new ImageException("image-invalid", "a layer has an extended attribute with a name over 255 or a value over 65535 bytes");
            entries.Add((split.Index, split.Suffix, value));
            length += Align(EntrySize + split.Suffix.Length + value.Length);
            if (length > MaxTotal)
                throw new ImageException("image-invalid", $"a layer has a file with over {MaxTotal} bytes of extended attributes");
        }
        if (entries.Count == 0)
            return [];

        entries.Sort((a, b) => a.Index != b.Index ? a.Index.CompareTo(b.Index) : a.Suffix.AsSpan().SequenceCompareTo(b.Suffix));
        var encoded = new byte[length];
        var rest = encoded.AsSpan(HeaderSize);
        foreach (var (index, suffix, value) in entries)
        {
            rest[0] = (byte)suffix.Length;
            rest[1] = index;
            BinaryPrimitives.WriteUInt16LittleEndian(rest[2..], (ushort)value.Length);
            suffix.CopyTo(rest[EntrySize..]);
            value.CopyTo(rest[(EntrySize + suffix.Length)..]);
            rest = rest[Align(EntrySize + suffix.Length + value.Length)..];
        }
        return encoded;
    }

    /// <summary>The inode's <c>i_xattr_icount</c> for an encoded block.</summary>
    public static ushort Count(byte[] encoded) =>
        encoded.Length == 0 ? (ushort)0 : (ushort)(1 + ((encoded.Length - HeaderSize) / 4));

    /// <summary>The length of an encoded block whose <c>i_xattr_icount</c> is <paramref name="count"/>.</summary>
    public static int LengthOf(ushort count) => count == 0 ? 0 : HeaderSize + ((count - 1) * 4);

    /// <summary>Takes an encoded block apart again; null when it is not one.</summary>
    public static IReadOnlyList<Xattr>? Decode(ReadOnlySpan<byte> encoded)
    {
        var xattrs = new List<Xattr>();
        for (var rest = encoded.IsEmpty ? encoded : encoded[HeaderSize..]; !rest.IsEmpty;)
        {
            if (rest.Length < EntrySize || PrefixOf(rest[1]) is not { } prefix)
                return null;
            var (nameLength, valueLength) = (rest[0], BinaryPrimitives.ReadUInt16LittleEndian(rest[2..]));
            var length = Align(EntrySize + nameLength + valueLength);
            if (length > rest.Length)
                return null;
            xattrs.Add(new Xattr(
                [.. prefix, .. rest.Slice(EntrySize, nameLength)], rest.Slice(EntrySize + nameLength, valueLength).ToArray()));
            rest = rest[length..];
        }
        return xattrs;
    }

    private static byte[]? PrefixOf(byte index) => index switch
    {
        1 => "user."u8.ToArray(),
        2 => "system.posix_acl_access"u8.ToArray(),
        3 => "system.posix_acl_default"u8.ToArray(),
        4 => "trusted."u8.ToArray(),
        6 => "security."u8.ToArray(),
        _ => null,
    };

    private static (byte Index, byte[] Suffix)? Split(byte[] name)
    {
        if (name.AsSpan().SequenceEqual("system.posix_acl_access"u8))
            return (2, []);
        if (name.AsSpan().SequenceEqual("system.posix_acl_default"u8))
            return (3, []);
        foreach (var (prefix, index) in Prefixes)
        {
            // Linux takes no attribute of a prefix alone.
            if (name.Length > prefix.Length && name.AsSpan().StartsWith(prefix))
                return (index, name[prefix.Length..]);
        }
        return null;
    }

    private static int Align(int length) => (length + 3) & ~3;
}

/// <summary>Name and value as bytes; the name with its prefix (<c>security.capability</c>).</summary>
internal readonly record struct Xattr(byte[] Name, byte[] Value);
