using System.Runtime.ExceptionServices;
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
                Removal? unnamed = null;
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
                        _images.Remove(digest, out var entry);
                        unnamed = new Removal(entry!, removed);
                    }
                    foreach (var gone in removed)
                        _references.Remove(gone);
                }
                RemoveFromDisk(unnamed is null ? [] : [unnamed], isNamed: removed.Count > 0, "remove");
                if (unnamed is not null)
                    removed = [.. removed, unnamed.Image.Record.ManifestDigest];
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
                IReadOnlyList<Removal> gone = [];
                lock (_lock)
                {
                    removed =
                    [
                        .. _images.Values.Select(Describe)
                            .Where(image => (all || image.References.Count == 0) && !IsInUse(image.ManifestDigest, kept))
                            .OrderBy(image => image.CreatedAt).ThenBy(image => image.ManifestDigest, StringComparer.Ordinal),
                    ];
                    if (!dryRun)
                        gone = Forget(removed);
                }
                RemoveFromDisk(gone, gone.Any(removal => removal.Names.Count > 0), "prune");
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
                IReadOnlyList<Removal> gone;
                lock (_lock)
                {
                    removed = [.. CollectionRule.Choose(_images.Values, limit, digest => IsInUse(digest, kept)).Select(Describe)];
                    gone = Forget(removed);
                }
                RemoveFromDisk(gone, gone.Any(removal => removal.Names.Count > 0), "collect");
            },
            cancellationToken);
        return removed;
    }

    /// <summary>From here on nobody can find or lease them. Call with the lock held.</summary>
    private List<Removal> Forget(List<StoredImage> images)
    {
        var gone = new List<Removal>(images.Count);
        foreach (var image in images)
        {
            _images.Remove(image.ManifestDigest, out var entry);
            foreach (var name in image.References)
                _references.Remove(name);
            gone.Add(new Removal(entry!, image.References));
        }
        return gone;
    }

    /// <summary>
    /// The images go first: names that lead nowhere go at the next open, an image without names would stay. One that the disk does
    /// not let go is in the store again, with its names, and does not keep the others.
    /// </summary>
    private void RemoveFromDisk(IReadOnlyList<Removal> removals, bool isNamed, string what)
    {
        Exception? failure = null;
        foreach (var (image, names) in removals)
        {
            var digest = Digest.Parse(image.Record.ManifestDigest, "a stored image");
            try
            {
                _directory.Remove(digest, what);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                failure ??= e;
                // Once it is moved away, the next open deletes what is left of it.
                if (!File.Exists(_directory.RootfsPath(digest)))
                    continue;
                lock (_lock)
                {
                    _images.TryAdd(image.Record.ManifestDigest, image);
                    foreach (var name in names)
                        _references.TryAdd(name, image.Record.ManifestDigest);
                }
            }
        }
        if (isNamed)
        {
            Dictionary<string, string> references;
            lock (_lock)
                references = new Dictionary<string, string>(_references);
            _directory.SaveReferences(references, what);
        }
        if (failure is not null)
            ExceptionDispatchInfo.Throw(failure);
    }

    /// <param name="Image">Taken out of what can be found.</param>
    /// <param name="Names">Those it had.</param>
    private sealed record Removal(StoredEntry Image, IReadOnlyList<string> Names);
}
