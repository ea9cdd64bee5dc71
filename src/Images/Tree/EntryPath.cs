namespace Ravel.Images.Tree;

/// <summary>An archive's name for an entry, made relative to the root: no leading slash, no <c>.</c>, no <c>..</c>.</summary>
/// <param name="Parent">Path of the directory; empty for the root.</param>
/// <param name="Name">Last component; empty when the path is the root itself.</param>
internal readonly record struct EntryPath(ReadOnlyMemory<byte> Parent, ReadOnlyMemory<byte> Name)
{
    public const int MaxLength = 4096;

    public bool IsRoot => Name.IsEmpty;

    /// <summary>Cleans a name by its text alone, as umoci and containerd do: <c>a/../../b</c> is <c>b</c>.</summary>
    /// <exception cref="ImageException"><c>image-invalid</c>: longer than Linux takes, or with a NUL.</exception>
    public static EntryPath Parse(ReadOnlySpan<byte> name)
    {
        if (name.Length > MaxLength)
            throw new ImageException("image-invalid", $"a layer has a path of {name.Length} bytes; Linux takes {MaxLength}");
        if (name.Contains((byte)0))
            throw new ImageException("image-invalid", "a layer has a path with a NUL byte");

        var clean = new byte[name.Length];
        var length = 0;
        foreach (var range in name.Split((byte)'/'))
        {
            var part = name[range];
            if (part.IsEmpty || part.SequenceEqual("."u8))
                continue;
            if (part.SequenceEqual(".."u8))
            {
                length = Math.Max(clean.AsSpan(0, length).LastIndexOf((byte)'/'), 0);
                continue;
            }
            if (length > 0)
                clean[length++] = (byte)'/';
            part.CopyTo(clean.AsSpan(length));
            length += part.Length;
        }
        var path = clean.AsMemory(0, length);
        var slash = path.Span.LastIndexOf((byte)'/');
        return slash < 0 ? new EntryPath(default, path) : new EntryPath(path[..slash], path[(slash + 1)..]);
    }

    public override string ToString() =>
        System.Text.Encoding.UTF8.GetString([.. Parent.Span, (byte)'/', .. Name.Span]);
}
