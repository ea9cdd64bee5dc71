using Ravel.Images.Archives;
using Ravel.Images.Build;
using Ravel.Images.Manifests;
using Ravel.Images.Registry;
using Ravel.Images.Store;

namespace Ravel.Images;

/// <summary>
/// The images of this host. What is on disk is described at <see cref="StoreDirectory"/>; this class keeps a copy of it in
/// memory, so that finding an image costs no input or output.
/// </summary>
public sealed partial class ImageStore : IImageStore, IDisposable
{
    private readonly ImageStoreOptions _options;
    private readonly TimeProvider _time;
    private readonly StoreDirectory _directory;
    private readonly SharedWork<string> _pulls = new();
    private readonly SharedWork<string> _builds = new();

    /// <summary>Serializes changes of the disk.</summary>
    private readonly SemaphoreSlim _changes = new(1, 1);

    /// <summary>Guards the three fields below; held for memory only.</summary>
    private readonly Lock _lock = new();
    private readonly Dictionary<string, StoredRecord> _images;
    private readonly Dictionary<string, string> _references;
    private readonly Dictionary<string, int> _leases = new(StringComparer.Ordinal);

    private ImageStore(ImageStoreOptions options, TimeProvider time, StoreDirectory directory)
    {
        _options = options;
        _time = time;
        _directory = directory;
        var (images, references) = directory.Load();
        _images = images.ToDictionary(image => image.ManifestDigest, StringComparer.Ordinal);
        _references = new Dictionary<string, string>(references, StringComparer.Ordinal);
    }

    /// <summary>Opens the store, and sweeps what a process that was killed left unfinished.</summary>
    /// <exception cref="IOException">The directory cannot be used, or another process has it open.</exception>
    public static Task<ImageStore> OpenAsync(ImageStoreOptions options, TimeProvider time, CancellationToken cancellationToken) =>
        Task.Run(
            () =>
            {
                var directory = StoreDirectory.Open(options.DataDirectory);
                try
                {
                    return new ImageStore(options, time, directory);
                }
                catch
                {
                    directory.Dispose();
                    throw;
                }
            },
            cancellationToken);

    public async Task<StoredImage> EnsureAsync(
        string reference, PullPolicy policy, IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
    {
        if (Digest.TryParse(reference, out _))
            return Find(reference) ?? throw new ImageException("image-not-found", $"there is no image {reference} on this host");
        var name = ImageReference.Parse(reference);
        var present = Find(name);
        // What a digest leads to never changes, so there is nothing to ask for again.
        if (present is not null && (policy != PullPolicy.Always || name.Digest is not null))
            return present;
        if (policy == PullPolicy.Never)
            throw new ImageException("image-not-found", $"{name} is not on this host, and the pull policy is never");

        var digest = await _pulls.RunAsync(
            name.ToString(), (audience, token) => PullAsync(name, audience, token), null, progress, cancellationToken);
        return Require(digest);
    }

    public async Task<StoredImage> ImportAsync(string path, string? choice, string? reference, CancellationToken cancellationToken)
    {
        var name = reference is null ? null : ImageReference.Parse(reference);
        var scratch = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var source = await Task.Run(() => ImageLocation.OpenFile(path, choice, scratch, _options.Limits, cancellationToken), cancellationToken);
        ImageManifest manifest;
        try
        {
            manifest = await source.ResolveAsync(cancellationToken);
            name ??= NameOf(source) ?? throw new ImageException("invalid-request", $"the archive does not say what its image is called; give it a name");
        }
        catch
        {
            await source.DisposeAsync();
            throw;
        }
        await StoreAsync(source, manifest, name, null, cancellationToken);
        return Require(manifest.ManifestDigest.ToString());
    }

    public IReadOnlyList<StoredImage> List()
    {
        lock (_lock)
            return [.. _images.Values.OrderBy(image => image.CreatedAt).ThenBy(image => image.ManifestDigest, StringComparer.Ordinal).Select(Describe)];
    }

    public StoredImage? Find(string referenceOrDigest)
    {
        lock (_lock)
            return Lookup(referenceOrDigest) is { } digest ? Describe(_images[digest]) : null;
    }

    public IDisposable Lease(string manifestDigest)
    {
        lock (_lock)
        {
            if (!_images.ContainsKey(manifestDigest))
                throw new ImageException("image-not-found", $"there is no image {manifestDigest} on this host");
            _leases[manifestDigest] = _leases.GetValueOrDefault(manifestDigest) + 1;
        }
        return new Release(this, manifestDigest);
    }

    public void Dispose()
    {
        _directory.Dispose();
        _changes.Dispose();
    }

    private async Task<string> PullAsync(ImageReference name, IProgress<ImageProgress> progress, CancellationToken cancellationToken)
    {
        progress.Report(new ImageProgress("resolve"));
        var source = new RegistrySource(name, _options.Registry, _options.Limits, _time);
        ImageManifest manifest;
        try
        {
            manifest = await source.ResolveAsync(cancellationToken);
        }
        catch
        {
            await source.DisposeAsync();
            throw;
        }
        await StoreAsync(source, manifest, name, progress, cancellationToken);
        return manifest.ManifestDigest.ToString();
    }

    /// <summary>Builds the rootfs unless it is there, and gives it the name. Takes the source over.</summary>
    private async Task StoreAsync(
        IImageSource source, ImageManifest manifest, ImageReference name, IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
    {
        var digest = manifest.ManifestDigest.ToString();
        // Until the name is stored, nobody may remove the image for having none.
        await _builds.RunAsync(
            digest,
            async (audience, token) =>
            {
                if (!Has(digest))
                    await BuildAsync(source, manifest, audience, token);
                return digest;
            },
            source, progress, cancellationToken);
        await NameAsync(name, digest, cancellationToken);
    }

    private async Task BuildAsync(
        IImageSource source, ImageManifest manifest, IProgress<ImageProgress> progress, CancellationToken cancellationToken)
    {
        var temporary = _directory.CreateTemporary();
        try
        {
            long bytes;
            using (var file = File.OpenHandle(StoreDirectory.RootfsIn(temporary), FileMode.CreateNew, FileAccess.ReadWrite))
            {
                bytes = await RootfsBuilder.BuildAsync(
                    source, manifest, file, _options.Limits, durable: true, _time, progress, cancellationToken);
                RandomAccess.FlushToDisk(file);
            }
            var record = new StoredRecord(manifest.ManifestDigest.ToString(), bytes, manifest.Config, _time.GetUtcNow());
            await ChangeAsync(
                () =>
                {
                    _directory.Publish(temporary, record);
                    lock (_lock)
                        _images[record.ManifestDigest] = record;
                },
                cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw DiskErrors.Translate(e, temporary);
        }
        finally
        {
            StoreDirectory.Delete(temporary);
        }
    }

    private static ImageReference? NameOf(IImageSource source)
    {
        var name = source switch
        {
            OciLayoutSource layout => layout.Reference,
            DockerArchiveSource archive => archive.Reference,
            _ => null,
        };
        // A bare word in a layout is a tag of something unknown, not the name of an image.
        return name is not null && name.AsSpan().ContainsAny('/', ':') && ImageReference.TryParse(name, out var reference, out _)
            ? reference
            : null;
    }

    private sealed class Release(ImageStore store, string digest) : IDisposable
    {
        private int _done;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _done, 1) != 0)
                return;
            lock (store._lock)
            {
                if (--store._leases[digest] == 0)
                    store._leases.Remove(digest);
            }
        }
    }
}
