using Ravel.Images.Manifests;
using Ravel.Images.Store;

namespace Ravel.Images;

/// <summary>What is in use, and since when not.</summary>
public sealed partial class ImageStore
{
    public IDisposable Lease(string manifestDigest)
    {
        lock (_lock)
        {
            return _images.TryGetValue(manifestDigest, out var image)
                ? LeaseOf(image)
                : throw new ImageException("image-not-found", $"there is no image {manifestDigest} on this host");
        }
    }

    public void KeepWithin(Func<long> leftBytes) => _leftBytes = leftBytes;

    public void KeepFor(Func<IReadOnlySet<string>> manifestDigests)
    {
        lock (_lock)
            _keptFor = manifestDigests;
    }

    /// <summary>Finds an image and has it in use, in one step; a damaged one is not to be had.</summary>
    /// <param name="find">Digest of the image, or null; called with the lock held.</param>
    private ImageLease? TryLease(Func<string?> find, out bool isDamaged)
    {
        lock (_lock)
        {
            isDamaged = false;
            if (find() is not { } digest || !_images.TryGetValue(digest, out var image))
                return null;
            isDamaged = image.IsDamaged;
            return isDamaged ? null : LeaseOf(image);
        }
    }

    /// <summary>Another lease of an image in use.</summary>
    private ImageLease Share(ImageLease lease)
    {
        lock (_lock)
            return LeaseOf(_images[lease.Image.ManifestDigest]);
    }

    /// <summary>Call with the lock held.</summary>
    private ImageLease LeaseOf(StoredEntry image)
    {
        var digest = image.Record.ManifestDigest;
        _leases[digest] = _leases.GetValueOrDefault(digest) + 1;
        return new ImageLease(Describe(image), () => Release(digest));
    }

    private void Release(string digest)
    {
        lock (_lock)
        {
            if (--_leases[digest] == 0)
                _leases.Remove(digest);
        }
    }

    /// <summary>Whether an image may be removed, by what was said of machines at rest a moment ago. Call with the lock held.</summary>
    private bool IsInUse(string digest, IReadOnlySet<string> kept) => _leases.ContainsKey(digest) || kept.Contains(digest);

    private IReadOnlySet<string> Kept()
    {
        Func<IReadOnlySet<string>> ask;
        lock (_lock)
            ask = _keptFor;
        return ask();
    }

    private void Touch(string digest)
    {
        var now = _time.GetUtcNow();
        lock (_lock)
        {
            if (!_images.TryGetValue(digest, out var image))
                return;
            _images[digest] = image with { LastUsed = now };
        }
        _directory.Touch(Digest.Parse(digest, "a stored image"), now);
    }
}
