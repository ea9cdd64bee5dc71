using Ravel.Images.Manifests;
using Ravel.Images.Registry;

namespace Ravel.Images.Archives;

/// <summary>
/// Where an image is, as people write it: <c>oci:DIR[:TAG]</c>, <c>oci-archive:FILE[:TAG]</c>,
/// <c>docker-archive:FILE[:REF]</c>, or a reference to a registry.
/// </summary>
internal static class ImageLocation
{
    /// <exception cref="ImageException"><c>invalid-request</c> or <c>image-not-found</c>, naming what was given.</exception>
    public static IImageSource Open(string text, RegistryOptions registry, ImageLimits limits, TimeProvider time)
    {
        if (TryTake(text, "oci:", Directory.Exists, out var path, out var name))
            return new OciLayoutSource(new DirectoryFiles(path), name, text, limits);
        if (TryTake(text, "oci-archive:", File.Exists, out path, out name))
            return new OciLayoutSource(ReadArchive(path), name, text, limits);
        if (TryTake(text, "docker-archive:", File.Exists, out path, out name))
            return new DockerArchiveSource(ReadArchive(path), name, text, limits);
        return new RegistrySource(ImageReference.Parse(text), registry, limits, time);
    }

    /// <summary>A directory or file of any of the three kinds, told by what it holds.</summary>
    public static IImageSource OpenFile(string path, ImageLimits limits)
    {
        if (Directory.Exists(path))
            return new OciLayoutSource(new DirectoryFiles(path), null, path, limits);
        if (!File.Exists(path))
            throw new ImageException("image-not-found", $"there is no {path}");
        var files = ReadArchive(path);
        if (files.Has("index.json"))
            return new OciLayoutSource(files, null, path, limits);
        if (files.Has("manifest.json"))
            return new DockerArchiveSource(files, null, path, limits);
        throw new ImageException("image-invalid", $"{path} is neither an oci-archive nor a docker-archive");
    }

    private static ArchiveFiles ReadArchive(string path)
    {
        try
        {
            return ArchiveFiles.Read(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException("image-not-found", $"{path} cannot be read: {e.Message}", e);
        }
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
