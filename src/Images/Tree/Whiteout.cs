namespace Ravel.Images.Tree;

/// <summary>An entry that stands for an absence (OCI image specification, layer.md, "Whiteouts").</summary>
/// <param name="IsOpaque">All of the directory's earlier content, instead of one name.</param>
internal readonly record struct Whiteout(bool IsOpaque)
{
    public const int PrefixLength = 4;

    /// <exception cref="ImageException"><c>image-invalid</c>: a whiteout of the directory itself or its parent.</exception>
    public static bool TryParse(ReadOnlySpan<byte> name, out Whiteout whiteout)
    {
        whiteout = default;
        if (!name.StartsWith(".wh."u8))
            return false;
        if (name.SequenceEqual(".wh..wh..opq"u8))
        {
            whiteout = new Whiteout(true);
            return true;
        }
        var target = name[PrefixLength..];
        if (target.IsEmpty || target.SequenceEqual("."u8) || target.SequenceEqual(".."u8))
            throw new ImageException("image-invalid", "a layer has a whiteout that names no file");
        return true;
    }
}
