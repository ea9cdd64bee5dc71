using System.Runtime.CompilerServices;
using Ravel.Images.Manifests;

namespace Ravel.Images;

/// <summary>Looking whether the images are what was built.</summary>
public sealed partial class ImageStore
{
    public async IAsyncEnumerable<ImageVerification> VerifyAsync(
        string? referenceOrDigest, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        IReadOnlyList<StoredImage> images = referenceOrDigest is null
            ? List()
            : [Find(referenceOrDigest) ?? throw new ImageException("image-not-found", $"there is no image {referenceOrDigest} on this host")];
        foreach (var image in images)
        {
            ImageLease? lease;
            lock (_lock)
                lease = _images.TryGetValue(image.ManifestDigest, out var entry) ? LeaseOf(entry) : null;
            // It was removed since.
            if (lease is null)
                continue;
            using (lease)
            {
                var damage = await Task.Run(() => DamageOf(lease.Image, cancellationToken), cancellationToken);
                await NoteAsync(lease.Image, damage is not null, cancellationToken);
                yield return new ImageVerification(lease.Image with { IsDamaged = damage is not null }, damage);
            }
        }
    }

    private static string? DamageOf(StoredImage image, CancellationToken cancellationToken)
    {
        try
        {
            using var file = File.OpenHandle(image.RootfsPath);
            var bytes = RandomAccess.GetLength(file);
            if (bytes != image.RootfsBytes)
                return $"the root file system has {bytes} bytes instead of {image.RootfsBytes}";
            var actual = HashOf(file, cancellationToken).ToString();
            return actual == image.RootfsDigest ? null : $"the root file system is {actual} instead of {image.RootfsDigest}";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"the root file system cannot be read: {e.Message}";
        }
    }

    /// <summary>Keeps in mind, over a restart too, what was found; an image that was replaced while it was read is left alone.</summary>
    private Task NoteAsync(StoredImage image, bool isDamaged, CancellationToken cancellationToken) =>
        ChangeAsync(
            () =>
            {
                var digest = Digest.Parse(image.ManifestDigest, "a stored image");
                lock (_lock)
                {
                    if (!_images.TryGetValue(image.ManifestDigest, out var entry) || entry.Record.CreatedAt != image.CreatedAt || entry.IsDamaged == isDamaged)
                        return;
                }
                if (isDamaged)
                    _directory.MarkDamaged(digest);
                else
                    _directory.UnmarkDamaged(digest);
                lock (_lock)
                    _images[image.ManifestDigest] = _images[image.ManifestDigest] with { IsDamaged = isDamaged };
            },
            cancellationToken);
}
