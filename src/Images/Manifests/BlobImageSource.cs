namespace Ravel.Images.Manifests;

/// <summary>
/// Index → manifest → configuration → layers, the same wherever the blobs are. A subclass says where the first document
/// comes from and how a blob is read.
/// </summary>
/// <param name="what">The image, for messages.</param>
internal abstract class BlobImageSource(string what, ImageLimits limits) : IImageSource
{
    /// <summary>Indexes may name indexes; nobody nests them deeper.</summary>
    private const int MaxIndexes = 4;

    protected string What { get; } = what;

    public string Name => What;

    public async Task<ImageManifest> ResolveAsync(CancellationToken cancellationToken)
    {
        var (content, announced) = await ReadFirstAsync(cancellationToken);
        for (var indexes = 0; ; indexes++)
        {
            var document = ManifestReader.Parse(content, $"the manifest of {What}");
            var mediaType = ManifestReader.MediaTypeOf(document, announced);
            if (mediaType is not null && MediaTypes.IsManifest(mediaType))
                break;
            if (mediaType is null || !MediaTypes.IsIndex(mediaType))
            {
                throw ManifestReader.Invalid((mediaType ?? announced)?.StartsWith(MediaTypes.DockerSchema1, StringComparison.Ordinal) == true
                    ? $"{What} is in Docker's schema 1, which nothing writes since 2017; push it again"
                    : $"{What} is of type {mediaType ?? "unknown"}; Ravel reads OCI images and Docker's schema 2");
            }
            if (indexes == MaxIndexes)
                throw ManifestReader.Invalid($"{What} has over {MaxIndexes} indexes inside one another");
            var chosen = ManifestReader.SelectPlatform(document, What);
            ManifestReader.CheckSize(chosen, ManifestReader.MaxManifestBytes, $"the manifest of {What}");
            content = await ReadManifestAsync(chosen, cancellationToken);
            Verify(chosen, content);
            announced = chosen.MediaType;
        }

        var manifest = ManifestReader.Parse(content, $"the manifest of {What}");
        var (config, blobs) = ManifestReader.ReadManifest(manifest, What, limits);
        ManifestReader.CheckSize(config, ManifestReader.MaxConfigBytes, $"the configuration of {What}");
        var configContent = await ReadBlobAsync(config, cancellationToken);
        Verify(config, configContent);
        var (run, diffIds, created) = ConfigReader.Read(configContent, What);
        if (diffIds.Count != blobs.Count)
            throw ManifestReader.Invalid($"{What} has {blobs.Count} layers, but its configuration names {diffIds.Count}");
        var layers = blobs.Zip(diffIds, (blob, diffId) => new Layer(blob.Digest.ToString(), blob.Digest, blob.Size, diffId)).ToList();
        return new ImageManifest(Digest.Of(content), layers, run, created);
    }

    public abstract Task<Stream> OpenLayerAsync(Layer layer, long offset, CancellationToken cancellationToken);

    public virtual TimeSpan? RetryDelay(Layer layer, Exception error, int attempt) => null;

    public virtual bool TryAnotherPlace() => false;

    public virtual ValueTask DisposeAsync() => ValueTask.CompletedTask;

    /// <summary>The document the reference leads to, checked against its digest where the reference has one.</summary>
    protected abstract Task<(byte[] Content, string? MediaType)> ReadFirstAsync(CancellationToken cancellationToken);

    /// <summary>A manifest that an index names; its size was checked against the limit, its digest will be.</summary>
    protected abstract Task<byte[]> ReadManifestAsync(Descriptor descriptor, CancellationToken cancellationToken);

    protected abstract Task<byte[]> ReadBlobAsync(Descriptor descriptor, CancellationToken cancellationToken);

    private void Verify(Descriptor descriptor, byte[] content)
    {
        var actual = Digest.Of(content);
        if (content.Length != descriptor.Size || actual != descriptor.Digest)
            throw ManifestReader.Invalid($"{What} should have {descriptor.Digest} of {descriptor.Size} bytes, but {actual} of {content.Length} bytes arrived");
    }
}
