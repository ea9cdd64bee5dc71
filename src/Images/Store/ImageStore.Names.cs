using Ravel.Images.Manifests;
using Ravel.Images.Store;

namespace Ravel.Images;

/// <summary>Names: finding images by them, giving them, taking them away.</summary>
public sealed partial class ImageStore
{
    private const int MinPrefix = 6;

    public async Task<IReadOnlyList<string>> RemoveAsync(string referenceOrDigest, CancellationToken cancellationToken)
    {
        List<string> removed = [];
        await ChangeAsync(
            () =>
            {
                Digest? unnamed = null;
                Dictionary<string, string> names;
                lock (_lock)
                {
                    var digest = Lookup(referenceOrDigest)
                        ?? throw new ImageException("image-not-found", $"there is no image {referenceOrDigest} on this host");
                    var all = _references.Where(pair => pair.Value == digest).Select(pair => pair.Key).Order(StringComparer.Ordinal).ToList();
                    var name = all.Find(candidate => candidate == FullName(referenceOrDigest));
                    removed = name is null ? all : [name];
                    if (removed.Count == all.Count)
                    {
                        if (_leases.ContainsKey(digest))
                            throw new ImageException("image-in-use", $"image {referenceOrDigest} is in use by a machine; remove the machine first");
                        // From here on nobody can find or lease it.
                        _images.Remove(digest);
                        unnamed = Digest.Parse(digest, "a stored image");
                        removed.Add(digest);
                    }
                    foreach (var gone in removed)
                        _references.Remove(gone);
                    names = new Dictionary<string, string>(_references);
                }
                // The image goes first: names that lead nowhere are ignored at the next open, an image without names would stay.
                if (unnamed is { } image)
                    _directory.Remove(image);
                _directory.SaveReferences(names);
            },
            cancellationToken);
        return removed;
    }

    private bool Has(string digest)
    {
        lock (_lock)
            return _images.ContainsKey(digest);
    }

    private StoredImage Require(string digest) =>
        Find(digest) ?? throw new ImageException("image-not-found", $"image {digest} was removed while it was asked for");

    /// <summary>The image a reference leads to: by its name, or by its digest when that is a manifest's.</summary>
    private StoredImage? Find(ImageReference name)
    {
        lock (_lock)
        {
            if (_references.TryGetValue(name.ToString(), out var digest))
                return Describe(_images[digest]);
            return name.Digest is not null && _images.TryGetValue(name.Digest, out var image) ? Describe(image) : null;
        }
    }

    private Task NameAsync(ImageReference name, string digest, CancellationToken cancellationToken) =>
        ChangeAsync(
            () =>
            {
                Dictionary<string, string> names;
                lock (_lock)
                {
                    if (!_images.ContainsKey(digest))
                        throw new ImageException("image-not-found", $"image {name} was removed while it was being stored");
                    if (_references.TryGetValue(name.ToString(), out var present) && present == digest)
                        return;
                    names = new Dictionary<string, string>(_references) { [name.ToString()] = digest };
                }
                _directory.SaveReferences(names);
                lock (_lock)
                    _references[name.ToString()] = digest;
            },
            cancellationToken);

    private async Task ChangeAsync(Action change, CancellationToken cancellationToken)
    {
        await _changes.WaitAsync(cancellationToken);
        try
        {
            await Task.Run(change, CancellationToken.None);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw DiskErrors.Translate(e, "the image store");
        }
        finally
        {
            _changes.Release();
        }
    }

    /// <summary>Digest of the image a text means; null when none or several. Call with the lock held.</summary>
    private string? Lookup(string text)
    {
        if (FullName(text) is { } name && _references.TryGetValue(name, out var digest))
            return digest;
        if (_images.ContainsKey(text))
            return text;
        var prefix = text.StartsWith(Digest.Prefix, StringComparison.Ordinal) ? text[Digest.Prefix.Length..] : text;
        if (prefix.Length < MinPrefix || !prefix.All(char.IsAsciiHexDigitLower))
            return null;
        var matches = _images.Keys.Where(key => key.AsSpan(Digest.Prefix.Length).StartsWith(prefix)).Take(2).ToList();
        return matches.Count == 1 ? matches[0] : null;
    }

    private static string? FullName(string text) =>
        ImageReference.TryParse(text, out var reference, out _) ? reference!.ToString() : null;

    private StoredImage Describe(StoredRecord image) => new(
        image.ManifestDigest,
        [.. _references.Where(pair => pair.Value == image.ManifestDigest).Select(pair => pair.Key).Order(StringComparer.Ordinal)],
        _directory.RootfsPath(Digest.Parse(image.ManifestDigest, "a stored image")),
        image.RootfsBytes,
        image.Config,
        image.CreatedAt);
}
