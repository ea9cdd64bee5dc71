using Ravel.Images.Manifests;
using Ravel.Images.Registry;

namespace Ravel.Images.Archives;

/// <summary>
/// Where an image is, as people and skopeo write it: <c>oci:DIR[:TAG]</c>, <c>oci-archive:FILE[:TAG]</c>,
/// <c>docker-archive:FILE[:REF]</c>, a path that starts with <c>/</c> or <c>.</c>, or a reference to a registry. Behind the last
/// colon <c>@N</c> means the image at that place, counted from 0.
/// </summary>
internal static class ImageLocation
{
    /// <param name="scratch">A directory for archives that have to be inflated before they can be read.</param>
    /// <exception cref="ImageException"><c>invalid-request</c> or <c>image-not-found</c>, naming what was given.</exception>
    public static IImageSource Open(
        string text, string scratch, RegistryOptions registry, ImageLimits limits, TimeProvider time, CancellationToken cancellationToken)
    {
        if (TryTake(text, "oci:", Directory.Exists, out var path, out var name))
            return new OciLayoutSource(new DirectoryFiles(path), name, text, limits);
        if (TryTake(text, "oci-archive:", File.Exists, out path, out name))
            return new OciLayoutSource(ArchiveFiles.Read(path, scratch, limits, cancellationToken), name, text, limits);
        if (TryTake(text, "docker-archive:", File.Exists, out path, out name))
            return new DockerArchiveSource(ArchiveFiles.Read(path, scratch, limits, cancellationToken), name, text, limits);
        if (text is ['/' or '.', ..] && TryTake(text, "", Path.Exists, out path, out name))
            return OpenFile(path, name, scratch, limits, cancellationToken);
        return new RegistrySource(ImageReference.Parse(text), registry, limits, time);
    }

    /// <summary>A directory or file of any of the three kinds, told by what it holds.</summary>
    /// <param name="name">Which image of it; null when it has only one.</param>
    public static IImageSource OpenFile(string path, string? name, string scratch, ImageLimits limits, CancellationToken cancellationToken)
    {
        if (Directory.Exists(path))
            return new OciLayoutSource(new DirectoryFiles(path), name, path, limits);
        var files = ArchiveFiles.Read(path, scratch, limits, cancellationToken);
        // Docker writes both kinds into one archive; only OCI's has the manifest that a registry would give.
        if (files.Has("index.json"))
            return new OciLayoutSource(files, name, path, limits);
        if (files.Has("manifest.json"))
            return new DockerArchiveSource(files, name, path, limits);
        files.Dispose();
        throw new ImageException("image-invalid", $"{path} is neither an oci-archive nor a docker-archive");
    }

    /// <summary>Splits at the first colon behind which the rest is a name: paths may hold colons too.</summary>
    private static bool TryTake(string text, string scheme, Func<string, bool> exists, out string path, out string? name)
    {
        path = "";
        name = null;
        if (!text.StartsWith(scheme, StringComparison.Ordinal))
            return false;
        path = text[scheme.Length..];
        if (exists(path))
            return true;
        for (var colon = path.LastIndexOf(':'); colon > 0; colon = path.LastIndexOf(':', colon - 1))
        {
            if (!exists(path[..colon]))
                continue;
            name = path[(colon + 1)..];
            path = path[..colon];
            return true;
        }
        throw new ImageException("image-not-found", $"there is no {path} for {text}");
    }
}
