using Ravel.Images.Archives;
using Ravel.Images.Layers;
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
    private readonly StoreFiles _files;
    private readonly StoreDirectory _directory;
    private readonly LayerMemory _memory;
    private readonly SharedWork<ImageLease> _pulls = new();
    private readonly SharedWork<ImageLease> _builds = new();
    private readonly SemaphoreSlim _buildSlots;

    /// <summary>Serializes changes of the disk.</summary>
    private readonly SemaphoreSlim _changes = new(1, 1);

    /// <summary>Guards the four fields below; held for memory only.</summary>
    private readonly Lock _lock = new();
    private readonly Dictionary<string, StoredEntry> _images;
    private readonly Dictionary<string, string> _references;
    private readonly Dictionary<string, int> _leases = new(StringComparer.Ordinal);
    private Func<IReadOnlySet<string>> _keptFor = () => new HashSet<string>();
    private volatile Func<long>? _leftBytes;

    private ImageStore(ImageStoreOptions options, TimeProvider time, StoreFiles files, StoreDirectory directory)
    {
        _options = options;
        _time = time;
        _files = files;
        _directory = directory;
        _buildSlots = new SemaphoreSlim(options.MaxBuildsAtOnce);
        _memory = new LayerMemory(options.LayerMemoryBytes);
        var (images, references) = directory.Load();
        _images = images.ToDictionary(image => image.Record.ManifestDigest, StringComparer.Ordinal);
        _references = new Dictionary<string, string>(references, StringComparer.Ordinal);
    }

    /// <summary>Opens the store, and sweeps what a process that was killed left unfinished.</summary>
    /// <exception cref="IOException">The directory cannot be used, or another process has it open.</exception>
    public static Task<ImageStore> OpenAsync(ImageStoreOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxBuildsAtOnce, 1);
        return Task.Run(
            () =>
            {
                var files = new StoreFiles(options.AtStep);
                var directory = StoreDirectory.Open(options.DataDirectory, files);
                try
                {
                    return new ImageStore(options, time, files, directory);
                }
                catch
                {
                    directory.Dispose();
                    throw;
                }
            },
            cancellationToken);
    }

    public async Task<StoredImage> EnsureAsync(
        string reference, PullPolicy policy, IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
    {
        using var lease = await AcquireAsync(reference, policy, progress, cancellationToken);
        return lease.Image;
    }

    public async Task<ImageLease> AcquireAsync(
        string reference, PullPolicy policy, IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
    {
        var lease = await FindOrPullAsync(reference, policy, progress, cancellationToken);
        Touch(lease.Image.ManifestDigest);
        return lease;
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
        using var lease = await StoreAsync(source, manifest, name, isImport: true, null, cancellationToken);
        return Require(lease.Image.ManifestDigest);
    }

    public IReadOnlyList<StoredImage> List()
    {
        lock (_lock)
        {
            return
            [
                .. _images.Values
                    .OrderBy(image => image.Record.CreatedAt).ThenBy(image => image.Record.ManifestDigest, StringComparer.Ordinal).Select(Describe),
            ];
        }
    }

    public StoredImage? Find(string referenceOrDigest)
    {
        lock (_lock)
            return Lookup(referenceOrDigest) is { } digest ? Describe(_images[digest]) : null;
    }

    public void Dispose()
    {
        _directory.Dispose();
        _changes.Dispose();
        _buildSlots.Dispose();
    }

    private async Task<ImageLease> FindOrPullAsync(
        string reference, PullPolicy policy, IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
    {
        if (Digest.TryParse(reference, out _))
        {
            return TryLease(() => Lookup(reference), out var isDamaged)
                ?? throw (isDamaged ? Damaged(reference) : new ImageException("image-not-found", $"there is no image {reference} on this host"));
        }
        var name = ImageReference.Parse(reference);
        // What a digest leads to never changes, so there is nothing to ask for again.
        if (policy != PullPolicy.Always || name.Digest is not null)
        {
            if (TryLease(() => Lookup(name), out var isDamaged) is { } present)
                return present;
            if (policy == PullPolicy.Never)
            {
                throw isDamaged
                    ? Damaged(name.ToString())
                    : new ImageException("image-not-found", $"{name} is not on this host, and the pull policy is never");
            }
        }
        return await _pulls.RunAsync(
            name.ToString(), (audience, token) => PullAsync(name, audience, token), null, progress, Share, cancellationToken);
    }

    private async Task<ImageLease> PullAsync(ImageReference name, IProgress<ImageProgress> progress, CancellationToken cancellationToken)
    {
        progress.Report(new ImageProgress("resolve"));
        var source = new RegistrySource(name, _options.Registry, _options.Limits, _time)
        {
            Served = registry => progress.Report(new ImageProgress("pull", Registry: registry)),
        };
        try
        {
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
            return await StoreAsync(source, manifest, name, isImport: false, progress, cancellationToken);
        }
        catch (ImageException e) when (!e.Message.Contains(name.ToString(), StringComparison.Ordinal))
        {
            // A layer or an entry of one does not know whose it is.
            throw new ImageException(e.Code, $"{name}: {e.Message}", e);
        }
    }

    /// <summary>Builds the rootfs unless it is there, and gives it the name. Takes the source over.</summary>
    private async Task<ImageLease> StoreAsync(
        IImageSource source, ImageManifest manifest, ImageReference name, bool isImport, IProgress<ImageProgress>? progress,
        CancellationToken cancellationToken)
    {
        var digest = manifest.ManifestDigest.ToString();
        var lease = await _builds.RunAsync(
            digest,
            async (audience, token) => TryLease(() => digest, out _) ?? await BuildAsync(source, manifest, isImport, audience, token),
            source, progress, Share, cancellationToken);
        try
        {
            await NameAsync(name, digest, isImport, cancellationToken);
            try
            {
                await CollectAsync(CancellationToken.None);
            }
            catch (ImageException)
            {
                // The image asked for is there all the same, and the next pull collects again.
            }
            return Share(lease);
        }
        finally
        {
            lease.Dispose();
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

    private static ImageException Damaged(string image) =>
        new("image-damaged", $"the root file system of {image} is damaged; pull or import the image again");
}
