using System.Text.RegularExpressions;
using Microsoft.Win32.SafeHandles;
using Ravel.Images.Build;
using Ravel.Images.Manifests;
using Ravel.Linux.Files;

namespace Ravel.Images;

/// <summary>A rootfs built outside of a store, put in place when it is complete.</summary>
internal static partial class RootfsFile
{
    private const int Attempts = 5;
    private const int WouldBlock = 11;

    /// <summary>
    /// Builds beside <paramref name="path"/> (<c>NAME.RANDOM.partial</c>) and renames; a failed build leaves what was there before. What a
    /// killed one has left, the next one with the same <paramref name="path"/> removes.
    /// </summary>
    /// <param name="atStep">Told of every step on disk right before it is done; for tests.</param>
    /// <exception cref="ImageException">The image cannot be had, is not valid, or the disk is full.</exception>
    public static async Task<RootfsResult> BuildAsync(
        IImageSource source, string path, ImageLimits limits, TimeProvider time,
        IProgress<ImageProgress>? progress, CancellationToken cancellationToken, Action<string>? atStep = null)
    {
        var full = Path.GetFullPath(path);
        string? partial = null;
        try
        {
            progress?.Report(new ImageProgress("resolve"));
            var manifest = await source.ResolveAsync(cancellationToken);
            Sweep(full, atStep);
            long bytes;
            using (var file = CreatePartial(full, atStep, out partial))
            {
                atStep?.Invoke("file: write");
                bytes = await RootfsBuilder.BuildAsync(source, manifest, file, limits, durable: true, time, progress, cancellationToken);
                atStep?.Invoke("file: flush");
                RandomAccess.FlushToDisk(file);
                atStep?.Invoke("file: rename");
                // While it is still locked: a run beside this one takes what nobody holds for left over.
                File.Move(partial, full, overwrite: true);
            }
            atStep?.Invoke("file: flush directory");
            FileBlocks.SyncDirectory(Path.GetDirectoryName(full)!);
            return new RootfsResult(manifest.ManifestDigest.ToString(), bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw DiskErrors.Translate(e, full);
        }
        finally
        {
            if (partial is not null)
                File.Delete(partial);
        }
    }

    /// <summary>A file under a name of its own, locked for as long as it is open.</summary>
    private static SafeFileHandle CreatePartial(string full, Action<string>? atStep, out string partial)
    {
        for (var attempt = 1; ; attempt++)
        {
            partial = $"{full}.{Path.GetRandomFileName()}.partial";
            atStep?.Invoke("file: create");
            try
            {
                var file = File.OpenHandle(partial, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
                // .NET's own lock is the same one, but a setting can switch it off.
                if (FileLock.TryHold(file) && File.Exists(partial))
                    return file;
                file.Dispose();
            }
            catch (IOException e) when (e.HResult == WouldBlock)
            {
                // A run beside this one looked at it between its creation and its lock, and is about to delete it.
            }
            if (attempt == Attempts)
                throw new IOException($"{partial} is taken away as soon as it is made");
        }
    }

    private static void Sweep(string full, Action<string>? atStep)
    {
        var directory = Path.GetDirectoryName(full)!;
        var name = Path.GetFileName(full);
        foreach (var path in Directory.EnumerateFiles(directory))
        {
            var file = Path.GetFileName(path);
            if (!file.StartsWith(name + ".", StringComparison.Ordinal) || !RandomPart().IsMatch(file.AsSpan(name.Length)))
                continue;
            try
            {
                using var held = FileLock.TryAcquireExisting(path);
                if (held is null)
                    continue;
                atStep?.Invoke("file: sweep");
                File.Delete(path);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Another user's, in a directory that both write to: theirs to remove.
            }
        }
    }

    /// <summary>As <see cref="Path.GetRandomFileName"/> makes them.</summary>
    [GeneratedRegex(@"\A\.[a-z0-9]{8}\.[a-z0-9]{3}\.partial\z")]
    private static partial Regex RandomPart();
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
