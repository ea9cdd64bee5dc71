using System.Formats.Tar;
using System.Net;
using Ravel.Cli.Errors;

namespace Ravel.Cli.Images;

/// <summary>What <c>image import</c> uploads: an archive as it is, or a directory in the OCI layout as a tar made on the way.</summary>
internal static class ImageArchive
{
    private static readonly string[] Schemes = ["oci:", "oci-archive:", "docker-archive:"];

    /// <summary>Takes what was given apart: a path, or <c>SCHEME:PATH[:IMAGE]</c> as skopeo writes it.</summary>
    /// <param name="choice">Which image, where that was given by itself.</param>
    /// <exception cref="CliException">Two images were named.</exception>
    public static (string Path, string? Image) Split(string given, string? choice)
    {
        var scheme = Schemes.FirstOrDefault(scheme => given.StartsWith(scheme, StringComparison.Ordinal));
        if (scheme is null || Path.Exists(given))
            return (given, choice);
        var path = given[scheme.Length..];
        if (path == "-" || Path.Exists(path))
            return (path, choice);
        // A path may have colons too: the longest that is there counts.
        for (var colon = path.LastIndexOf(':'); colon > 0; colon = path.LastIndexOf(':', colon - 1))
        {
            if (!Path.Exists(path[..colon]) && path[..colon] != "-")
                continue;
            if (choice is not null)
                throw CliException.Usage("--image", $"the image is named twice, here and in {given}");
            return (path[..colon], path[(colon + 1)..]);
        }
        throw CliException.Usage(path, "there is no such file or directory");
    }

    public static HttpContent Open(string path) => Directory.Exists(path) && !File.Exists(Path.Combine(path, "index.json"))
        ? throw CliException.Usage(path, "is no image in the OCI layout: it has no index.json", "give a layout directory, or an oci-archive or docker-archive file")
        : OpenFileOrTree(path);

    /// <summary>A file, standard input for <c>-</c>, or a directory as a tar.</summary>
    internal static HttpContent OpenFileOrTree(string path)
    {
        try
        {
            if (path == "-")
                return new StreamContent(Console.OpenStandardInput());
            if (Directory.Exists(path))
                return new TreeContent(path);
            return new StreamContent(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 17, FileOptions.SequentialScan));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw CliException.Usage(path, "there is no such file or directory");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(path, $"cannot be read: {e.Message.TrimEnd('.')}");
        }
    }

    /// <summary>The files of a directory as an uncompressed tar, in the order of their names, without anything of this host in it.</summary>
    internal static async Task WriteTreeAsync(string directory, Stream to, CancellationToken cancellationToken)
    {
        await using var tar = new TarWriter(to, TarEntryFormat.Pax, leaveOpen: true);
        var files = Directory.EnumerateFiles(directory, "*", new EnumerationOptions
        {
            RecurseSubdirectories = true,
            AttributesToSkip = FileAttributes.ReparsePoint,
            IgnoreInaccessible = false,
        });
        foreach (var file in files.Order(StringComparer.Ordinal))
        {
            await using var data = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 17, FileOptions.SequentialScan);
            await tar.WriteEntryAsync(
                new PaxTarEntry(TarEntryType.RegularFile, Path.GetRelativePath(directory, file))
                {
                    DataStream = data,
                    Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead,
                    ModificationTime = DateTimeOffset.UnixEpoch,
                },
                cancellationToken);
        }
    }

    private sealed class TreeContent(string directory) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            WriteTreeAsync(directory, stream, CancellationToken.None);

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken) =>
            WriteTreeAsync(directory, stream, cancellationToken);

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
