using Ravel.Images.Build;
using Ravel.Images.Manifests;
using Ravel.Linux.Files;

namespace Ravel.Images;

/// <summary>A rootfs built outside of a store, put in place when it is complete.</summary>
internal static class RootfsFile
{
    /// <summary>Builds beside <paramref name="path"/> and renames; a failed build leaves what was there before.</summary>
    /// <exception cref="ImageException">The image cannot be had, is not valid, or the disk is full.</exception>
    public static async Task<RootfsResult> BuildAsync(
        IImageSource source, string path, ImageLimits limits, TimeProvider time,
        IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
    {
        var full = Path.GetFullPath(path);
        var partial = $"{full}.{Environment.ProcessId}.partial";
        try
        {
            progress?.Report(new ImageProgress("resolve"));
            var manifest = await source.ResolveAsync(cancellationToken);
            long bytes;
            using (var file = File.OpenHandle(partial, FileMode.Create, FileAccess.ReadWrite))
            {
                bytes = await RootfsBuilder.BuildAsync(source, manifest, file, limits, durable: true, time, progress, cancellationToken);
                RandomAccess.FlushToDisk(file);
            }
            File.Move(partial, full, overwrite: true);
            FileBlocks.SyncDirectory(Path.GetDirectoryName(full)!);
            return new RootfsResult(manifest.ManifestDigest.ToString(), bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw DiskErrors.Translate(e, full);
        }
        finally
        {
            File.Delete(partial);
        }
    }
}

/// <param name="Bytes">Size of the rootfs file.</param>
internal sealed record RootfsResult(string ManifestDigest, long Bytes);

internal static class DiskErrors
{
    private const int NoSpace = 28;
    private const int QuotaExceeded = 122;

    /// <summary>A full disk has its own code; other errors of the host's file system are not the image's.</summary>
    public static ImageException Translate(Exception error, string path) =>
        error.HResult is NoSpace or QuotaExceeded
            ? new ImageException("disk-full", $"the disk of {path} is full", error)
            : new ImageException("image-pull-failed", $"{path} cannot be written: {error.Message}", error);
}
