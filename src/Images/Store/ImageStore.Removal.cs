using Ravel.Images.Manifests;
using Ravel.Images.Store;

namespace Ravel.Images;

/// <summary>How images go: by name, unused ones together, and by themselves when the store is full.</summary>
public sealed partial class ImageStore
{
    public async Task<IReadOnlyList<string>> RemoveAsync(string referenceOrDigest, CancellationToken cancellationToken)
    {
        List<string> removed = [];
        await ChangeAsync(
            () =>
            {
                var kept = Kept();
                string? unnamed = null;
                lock (_lock)
                {
                    var digest = Lookup(referenceOrDigest)
                        ?? throw new ImageException("image-not-found", $"there is no image {referenceOrDigest} on this host");
                    var all = NamesOf(digest);
                    var name = all.Find(candidate => candidate == FullName(referenceOrDigest));
                    removed = name is null ? all : [name];
                    if (removed.Count == all.Count)
                    {
                        if (IsInUse(digest, kept))
                        {
                            throw new ImageException(
                                "image-in-use", $"image {referenceOrDigest} is in use by a machine, or being pulled; remove the machine first");
                        }
                        // From here on nobody can find or lease it.
                        _images.Remove(digest);
                        unnamed = digest;
                    }
                    foreach (var gone in removed)
                        _references.Remove(gone);
                }
                RemoveFromDisk(unnamed is null ? [] : [unnamed], isNamed: removed.Count > 0, "remove");
                if (unnamed is not null)
                    removed.Add(unnamed);
            },
            cancellationToken);
        return removed;
    }

    public async Task<IReadOnlyList<StoredImage>> PruneAsync(bool all, bool dryRun, CancellationToken cancellationToken)
    {
        List<StoredImage> removed = [];
        await ChangeAsync(
            () =>
            {
                var kept = Kept();
                lock (_lock)
                {
                    removed =
                    [
                        .. _images.Values.Select(Describe)
                            .Where(image => (all || image.References.Count == 0) && !IsInUse(image.ManifestDigest, kept))
                            .OrderBy(image => image.CreatedAt).ThenBy(image => image.ManifestDigest, StringComparer.Ordinal),
                    ];
                    if (!dryRun)
                        Forget(removed);
                }
                if (!dryRun)
                    RemoveFromDisk([.. removed.Select(image => image.ManifestDigest)], removed.Any(image => image.References.Count > 0), "prune");
            },
            cancellationToken);
        return removed;
    }

    public async Task<IReadOnlyList<StoredImage>> CollectAsync(CancellationToken cancellationToken)
    {
        List<StoredImage> removed = [];
        if (_options.MaxBytes is not { } limit)
            return removed;
        await ChangeAsync(
            () =>
            {
                var kept = Kept();
                lock (_lock)
                {
                    removed = [.. CollectionRule.Choose(_images.Values, limit, digest => IsInUse(digest, kept)).Select(Describe)];
                    Forget(removed);
                }
                RemoveFromDisk([.. removed.Select(image => image.ManifestDigest)], removed.Any(image => image.References.Count > 0), "collect");
            },
            cancellationToken);
        return removed;
    }

    /// <summary>From here on nobody can find or lease them. Call with the lock held.</summary>
    private void Forget(List<StoredImage> images)
    {
        foreach (var image in images)
        {
            _images.Remove(image.ManifestDigest);
            foreach (var name in image.References)
                _references.Remove(name);
        }
    }

    /// <summary>The images go first: names that lead nowhere go at the next open, an image without names would stay.</summary>
    private void RemoveFromDisk(IReadOnlyList<string> digests, bool isNamed, string what)
    {
        foreach (var digest in digests)
            _directory.Remove(Digest.Parse(digest, "a stored image"), what);
        if (!isNamed)
            return;
        Dictionary<string, string> names;
        lock (_lock)
            names = new Dictionary<string, string>(_references);
        _directory.SaveReferences(names, what);
    }
}
