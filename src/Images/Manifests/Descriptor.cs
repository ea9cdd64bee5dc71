namespace Ravel.Images.Manifests;

/// <summary>A blob as manifests name it (OCI image specification, descriptor.md).</summary>
/// <param name="Size">Bytes, as the manifest states; checked while reading.</param>
internal sealed record Descriptor(string MediaType, Digest Digest, long Size);

/// <summary>A layer of an image.</summary>
/// <param name="Name">For messages and progress.</param>
/// <param name="Digest">Of the stored form; null where the archive's format has none.</param>
/// <param name="DiffId">Digest of the uncompressed archive, from the configuration.</param>
internal sealed record Layer(string Name, Digest? Digest, long Size, Digest DiffId);

/// <summary>An image, resolved for this host's platform and checked as far as that goes without its layers.</summary>
/// <param name="ManifestDigest">What the store files it under.</param>
/// <param name="CreatedSeconds">The image's creation time in seconds since 1970; 0 when it has none.</param>
internal sealed record ImageManifest(
    Digest ManifestDigest, IReadOnlyList<Layer> Layers, ImageConfig Config, long CreatedSeconds);

/// <summary>A place images come from: a registry, a layout directory, an archive.</summary>
internal interface IImageSource : IAsyncDisposable
{
    /// <summary>The image as it was asked for, for messages.</summary>
    string Name { get; }

    /// <summary>Finds the image and reads its manifest and configuration.</summary>
    /// <exception cref="ImageException">It is not there, not valid, or not for this platform.</exception>
    Task<ImageManifest> ResolveAsync(CancellationToken cancellationToken);

    /// <summary>Opens a layer's stored bytes from an offset on, to begin with or to go on after a broken transfer.</summary>
    Task<Stream> OpenLayerAsync(Layer layer, long offset, CancellationToken cancellationToken);

    /// <summary>Whether a failed read of a layer may go well when tried again, after which wait; null when not.</summary>
    TimeSpan? RetryDelay(Layer layer, Exception error, int attempt);

    /// <summary>
    /// Asked when the layers that came are not those of the image, and none is being read any more: whether another place has them
    /// too. From then on that one is asked.
    /// </summary>
    bool TryAnotherPlace() => false;
}
