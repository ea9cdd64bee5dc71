using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Ravel.Images.Build;
using Ravel.Images.Manifests;
using Ravel.Images.Store;

namespace Ravel.Images;

/// <summary>Building a rootfs into the store.</summary>
public sealed partial class ImageStore
{
    private const int HashBufferBytes = 1 << 20;

    /// <returns>The image, in use from the moment it can be found.</returns>
    private async Task<ImageLease> BuildAsync(
        IImageSource source, ImageManifest manifest, bool isImport, IProgress<ImageProgress> progress, CancellationToken cancellationToken)
    {
        await _buildSlots.WaitAsync(cancellationToken);
        var temporary = "";
        try
        {
            CheckRoom(manifest.Layers.Sum(layer => layer.Size));
            temporary = _directory.CreateTemporary();
            var (bytes, rootfsDigest) = await WriteRootfsAsync(source, manifest, temporary, progress, cancellationToken);
            var now = _time.GetUtcNow();
            var layers = manifest.Layers.Select(layer => new ImageLayer((layer.Digest ?? layer.DiffId).ToString(), layer.Size)).ToList();
            var entry = new StoredEntry(
                new StoredRecord(manifest.ManifestDigest.ToString(), bytes, rootfsDigest.ToString(), layers, manifest.Config, now))
            {
                LastUsed = now,
                IsImported = isImport,
            };
            ImageLease? lease = null;
            await ChangeAsync(
                () =>
                {
                    _directory.Publish(temporary, entry);
                    lock (_lock)
                    {
                        _images[entry.Record.ManifestDigest] = entry;
                        lease = LeaseOf(entry);
                    }
                },
                cancellationToken);
            return lease!;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw DiskErrors.Translate(e, "the image store");
        }
        finally
        {
            _buildSlots.Release();
            if (temporary.Length > 0)
                _directory.DeleteTemporary(temporary);
        }
    }

    private async Task<(long Bytes, Digest Digest)> WriteRootfsAsync(
        IImageSource source, ImageManifest manifest, string temporary, IProgress<ImageProgress> progress, CancellationToken cancellationToken)
    {
        _files.Reach("build: create rootfs");
        using var file = File.OpenHandle(StoreDirectory.RootfsIn(temporary), FileMode.CreateNew, FileAccess.ReadWrite);
        var steps = new StepsOf(this, progress);
        foreach (var layer in manifest.Layers)
            steps.Report(new ImageProgress("pull", layer.Name, 0, layer.Size));
        var bytes = await RootfsBuilder.BuildAsync(source, manifest, file, _options.Limits, _memory, durable: true, _time, steps, cancellationToken);
        CheckRoom(0);
        _files.Reach("build: flush rootfs");
        // The disk works on the one and a core on the other.
        var digest = Task.Run(() => HashOf(file, cancellationToken), CancellationToken.None);
        try
        {
            await Task.Run(() => RandomAccess.FlushToDisk(file), CancellationToken.None);
        }
        finally
        {
            await ((Task)digest).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        return (bytes, await digest);
    }

    private static Digest HashOf(SafeFileHandle file, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[HashBufferBytes];
        int read;
        for (long offset = 0; (read = RandomAccess.Read(file, buffer, offset)) > 0; offset += read)
        {
            cancellationToken.ThrowIfCancellationRequested();
            hash.AppendData(buffer, 0, read);
        }
        return Digest.Of(hash);
    }

    /// <exception cref="ImageException"><c>disk-full</c>.</exception>
    private void CheckRoom(long bytes)
    {
        if (_leftBytes is { } ask && ask() is var left && (left < bytes || left < 0))
        {
            throw new ImageException(
                "disk-full",
                (bytes > 0 ? $"the layers of the image have {(bytes + (1 << 20) - 1) >> 20} MiB, and " : "the image does not fit: ")
                + $"{Math.Max(0, left) >> 20} MiB of the disk are neither taken nor promised to machines; remove images or volumes that nobody needs");
        }
    }

    /// <summary>What arrives of the layers takes room, and is a step of the store for tests.</summary>
    private sealed class StepsOf(ImageStore store, IProgress<ImageProgress> progress) : IProgress<ImageProgress>
    {
        public void Report(ImageProgress value)
        {
            store._files.Reach(value.Phase == "build" ? "build: write directories" : "build: write layer");
            store.CheckRoom(0);
            progress.Report(value);
        }
    }
}
