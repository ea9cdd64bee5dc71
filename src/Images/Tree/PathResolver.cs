namespace Ravel.Images.Tree;

/// <summary>
/// Finds the directory a path leads to inside the tree, following symbolic links without ever leaving the root:
/// <c>..</c> stops at the root, absolute targets start there, and what does not exist yet counts by its name alone. These
/// are the rules of umoci and containerd, which resolve the same way on a real file system.
/// </summary>
internal sealed class PathResolver(DirectoryInode root, ImageLimits limits)
{
    private const int MaxLinks = 255;

    private readonly Stack<ReadOnlyMemory<byte>> _pending = new();
    private readonly List<ReadOnlyMemory<byte>> _missing = [];
    private long _steps;

    /// <summary>The directory at <paramref name="path"/>, or the last one that exists and the names missing below it.</summary>
    /// <exception cref="ImageException"><c>image-invalid</c>: a loop of links, or too much work.</exception>
    public (DirectoryInode Directory, IReadOnlyList<ReadOnlyMemory<byte>> Missing) Resolve(ReadOnlyMemory<byte> path)
    {
        _pending.Clear();
        _missing.Clear();
        _pending.Push(path);
        var directory = root;
        var links = 0;
        while (_pending.TryPop(out var rest))
        {
            var slash = rest.Span.IndexOf((byte)'/');
            var name = slash < 0 ? rest : rest[..slash];
            if (slash >= 0 && slash + 1 < rest.Length)
                _pending.Push(rest[(slash + 1)..]);
            if (++_steps > limits.MaxPathSteps)
                throw new ImageException("image-invalid", $"finding the places of the image's files took over {limits.MaxPathSteps} steps");

            if (name.IsEmpty || name.Span.SequenceEqual("."u8))
                continue;
            if (name.Span.SequenceEqual(".."u8))
            {
                if (_missing.Count > 0)
                    _missing.RemoveAt(_missing.Count - 1);
                else
                    directory = directory.Parent ?? directory;
                continue;
            }
            if (_missing.Count > 0 || !directory.TryGet(name.Span, out var inode))
            {
                _missing.Add(name);
                continue;
            }
            switch (inode)
            {
                case DirectoryInode below:
                    directory = below;
                    break;
                case LeafInode { Target: { } target }:
                    if (++links > MaxLinks)
                        throw new ImageException("image-invalid", "a layer has a path through a loop of symbolic links");
                    if (target is [(byte)'/', ..])
                        directory = root;
                    _pending.Push(target);
                    break;
                default:
                    // Not a directory: nothing can exist below it, and creating something there is refused.
                    _missing.Add(name);
                    break;
            }
        }
        return (directory, _missing);
    }
}
