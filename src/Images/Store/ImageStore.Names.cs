using Ravel.Images.Manifests;
using Ravel.Images.Store;

namespace Ravel.Images;

/// <summary>Names: finding images by them, and giving them.</summary>
public sealed partial class ImageStore
{
    private const int MinPrefix = 6;

    private StoredImage Require(string digest) =>
        Find(digest) ?? throw new ImageException("image-not-found", $"image {digest} was removed while it was asked for");

    private Task NameAsync(ImageReference name, string digest, bool isImport, CancellationToken cancellationToken) =>
        ChangeAsync(
            () =>
            {
                StoredEntry image;
                Dictionary<string, string>? names = null;
                lock (_lock)
                {
                    image = _images[digest];
                    if (!_references.TryGetValue(name.ToString(), out var present) || present != digest)
                        names = new Dictionary<string, string>(_references) { [name.ToString()] = digest };
                }
                if (isImport && !image.IsImported)
                {
                    _directory.MarkImported(Digest.Parse(digest, "a stored image"));
                    lock (_lock)
                        _images[digest] = _images[digest] with { IsImported = true };
                }
                if (names is null)
                    return;
                _directory.SaveReferences(names, "name");
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

    /// <summary>Digest of the image a reference leads to: by its name, or by its digest when that is a manifest's. Call with the lock held.</summary>
    private string? Lookup(ImageReference name) =>
        _references.TryGetValue(name.ToString(), out var digest) ? digest : name.Digest;

    private static string? FullName(string text) =>
        ImageReference.TryParse(text, out var reference, out _) ? reference!.ToString() : null;

    /// <summary>Call with the lock held.</summary>
    private List<string> NamesOf(string digest) =>
        [.. _references.Where(pair => pair.Value == digest).Select(pair => pair.Key).Order(StringComparer.Ordinal)];

    /// <summary>Call with the lock held.</summary>
    private StoredImage Describe(StoredEntry image) => new(
        image.Record.ManifestDigest,
        NamesOf(image.Record.ManifestDigest),
        _directory.RootfsPath(Digest.Parse(image.Record.ManifestDigest, "a stored image")),
        image.Record.RootfsBytes,
        image.Record.Config,
        image.Record.CreatedAt)
    {
        RootfsDigest = image.Record.RootfsDigest,
        Layers = image.Record.Layers,
        LastUsedAt = image.LastUsed,
        IsImported = image.IsImported,
        IsDamaged = image.IsDamaged,
    };
}
