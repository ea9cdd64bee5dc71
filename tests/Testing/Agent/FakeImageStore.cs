using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Ravel.Contracts.Api;
using Ravel.Images;

namespace Ravel.Testing.Agent;

/// <summary>Images without a registry: the ones it is given, each with an empty file for a rootfs.</summary>
public sealed class FakeImageStore : IImageStore
{
    private readonly ConcurrentDictionary<string, StoredImage> _images = new();
    private readonly ConcurrentDictionary<string, int> _leases = new();
    private readonly string _directory;
    private int _ensured;
    private Func<IReadOnlySet<string>> _keptFor = () => new HashSet<string>();

    public FakeImageStore(string directory)
    {
        _directory = directory;
        Directory.CreateDirectory(directory);
    }

    /// <summary>Calls of <see cref="EnsureAsync"/>.</summary>
    public int Ensured => _ensured;

    /// <summary>Stands before every <see cref="EnsureAsync"/>.</summary>
    public Func<string, CancellationToken, Task> OnEnsure { get; set; } = (_, _) => Task.CompletedTask;

    /// <summary>Contents of the archives imported.</summary>
    public ConcurrentQueue<byte[]> Imported { get; } = new();

    public StoredImage Add(string reference, ImageConfig? config = null)
    {
        var digest = "sha256:" + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(reference)));
        var path = Path.Combine(_directory, digest[7..] + ".erofs");
        File.WriteAllText(path, reference);
        return _images[reference] = new StoredImage(
            digest, [reference], path, reference.Length, config ?? new ImageConfig { Cmd = ["sleep", "infinity"] }, DateTimeOffset.UnixEpoch);
    }

    public int LeasesOf(string reference) => _leases.GetValueOrDefault(_images[reference].ManifestDigest);

    public async Task<StoredImage> EnsureAsync(
        string reference, PullPolicy policy, IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _ensured);
        await OnEnsure(reference, cancellationToken);
        progress?.Report(new ImageProgress("resolve"));
        progress?.Report(new ImageProgress("pull", "sha256:layer", 5, 10));
        return Find(reference) ?? throw new ImageException(ProblemCodes.ImageNotFound, $"image {reference} is not in the fake store");
    }

    public async Task<ImageLease> AcquireAsync(
        string reference, PullPolicy policy, IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
    {
        var image = await EnsureAsync(reference, policy, progress, cancellationToken);
        return new ImageLease(image, Lease(image.ManifestDigest).Dispose);
    }

    public async Task<StoredImage> ImportAsync(string path, string? choice, string? reference, CancellationToken cancellationToken)
    {
        Imported.Enqueue(await File.ReadAllBytesAsync(path, cancellationToken));
        return Add(reference ?? choice ?? "imported");
    }

    public IReadOnlyList<StoredImage> List() => [.. _images.Values];

    public StoredImage? Find(string referenceOrDigest) =>
        _images.GetValueOrDefault(referenceOrDigest) ?? _images.Values.FirstOrDefault(image => image.ManifestDigest == referenceOrDigest);

    public Task<IReadOnlyList<string>> RemoveAsync(string referenceOrDigest, CancellationToken cancellationToken)
    {
        var image = Find(referenceOrDigest) ?? throw new ImageException(ProblemCodes.ImageNotFound, $"no image {referenceOrDigest}");
        if (IsInUse(image))
            throw new ImageException(ProblemCodes.ImageInUse, $"image {referenceOrDigest} is in use");
        _images.TryRemove(image.References[0], out _);
        return Task.FromResult<IReadOnlyList<string>>([image.References[0]]);
    }

    public Task<IReadOnlyList<StoredImage>> PruneAsync(bool all, bool dryRun, CancellationToken cancellationToken)
    {
        IReadOnlyList<StoredImage> unused = [.. _images.Values.Where(image => all && !IsInUse(image))];
        foreach (var image in dryRun ? [] : unused)
            _images.TryRemove(image.References[0], out _);
        return Task.FromResult(unused);
    }

    /// <summary>There is no limit here.</summary>
    public Task<IReadOnlyList<StoredImage>> CollectAsync(CancellationToken cancellationToken) => Task.FromResult<IReadOnlyList<StoredImage>>([]);

    /// <summary>An image is damaged when its file no longer has its name in it.</summary>
    public async IAsyncEnumerable<ImageVerification> VerifyAsync(
        string? referenceOrDigest, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        IReadOnlyList<StoredImage> images = referenceOrDigest is null
            ? [.. _images.Values]
            : [Find(referenceOrDigest) ?? throw new ImageException(ProblemCodes.ImageNotFound, $"no image {referenceOrDigest}")];
        foreach (var image in images)
        {
            var isWhole = await File.ReadAllTextAsync(image.RootfsPath, cancellationToken) == image.References[0];
            yield return new ImageVerification(image, isWhole ? null : "it was written to");
        }
    }

    public void KeepFor(Func<IReadOnlySet<string>> manifestDigests) => _keptFor = manifestDigests;

    /// <summary>Images here are empty.</summary>
    public void KeepWithin(Func<long> leftBytes)
    {
    }

    public IDisposable Lease(string manifestDigest)
    {
        _leases.AddOrUpdate(manifestDigest, 1, (_, n) => n + 1);
        return new LeaseHandle(this, manifestDigest);
    }

    private bool IsInUse(StoredImage image) =>
        _leases.GetValueOrDefault(image.ManifestDigest) > 0 || _keptFor().Contains(image.ManifestDigest);

    /// <summary>Leases are in memory: they go with the agent that took them.</summary>
    public void ForgetLeases() => _leases.Clear();

    private sealed class LeaseHandle(FakeImageStore store, string digest) : IDisposable
    {
        private int _isDisposed;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _isDisposed, 1) == 0)
                store._leases.AddOrUpdate(digest, 0, (_, n) => Math.Max(0, n - 1));
        }
    }
}
