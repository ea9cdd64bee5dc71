using System.Text.Json;
using Ravel.Images.Manifests;
using Ravel.Linux.Files;

namespace Ravel.Images.Archives;

/// <summary>An image in an OCI layout (OCI image specification, image-layout.md), as a directory or inside an archive.</summary>
internal sealed class OciLayoutSource : BlobImageSource
{
    /// <summary>What containerd and Docker call the image in full; OCI's own annotation has the tag alone there.</summary>
    private const string FullNameAnnotation = "io.containerd.image.name";
    private const string ReferenceAnnotation = "org.opencontainers.image.ref.name";

    private readonly IBlobFiles _files;
    private readonly string? _tag;

    /// <param name="tag">Which image of the layout; null when it has only one.</param>
    public OciLayoutSource(IBlobFiles files, string? tag, string what, ImageLimits limits)
        : base(what, limits)
    {
        _files = files;
        _tag = tag;
    }

    /// <summary>The name the layout gives its image; null when it has none.</summary>
    public string? Reference { get; private set; }

    public override Task<Stream> OpenLayerAsync(Layer layer, long offset, CancellationToken cancellationToken)
    {
        var stream = _files.Open(BlobPath(layer.Digest!.Value));
        if (stream is null)
            throw new ImageException("image-invalid", $"{What} has no layer {layer.Digest}");
        stream.Seek(offset, SeekOrigin.Begin);
        return Task.FromResult(stream);
    }

    public override ValueTask DisposeAsync()
    {
        _files.Dispose();
        return base.DisposeAsync();
    }

    protected override async Task<(byte[] Content, string? MediaType)> ReadFirstAsync(CancellationToken cancellationToken)
    {
        var content = await ReadAsync("index.json", ManifestReader.MaxManifestBytes, cancellationToken)
            ?? throw new ImageException("image-not-found", $"{What} is not an OCI layout: it has no index.json");
        var index = ManifestReader.Parse(content, $"index.json of {What}");
        var entries = ManifestReader.Array(index, "manifests", $"index.json of {What}").ToList();
        var matches = _tag is null ? entries : ImageChoice.Among(entries, _tag, NamesOf);
        if (matches.Count == 0)
        {
            throw new ImageException(
                "image-not-found", _tag is null ? $"{What} holds no image" : $"{What} holds no image {_tag}; it has {ImageChoice.Show(entries, NamesOf)}");
        }
        if (matches.Count > 1 && matches.Any(match => NamesOf(match).Any()))
            throw new ImageException("invalid-request", $"{What} holds several images; name one of {ImageChoice.Show(entries, NamesOf)}");
        if (matches.Count > 1)
            return (content, MediaTypes.OciIndex);

        Reference = ImageChoice.NameOf(matches[0], _tag, NamesOf);
        var descriptor = ManifestReader.ReadDescriptor(matches[0], What);
        var manifest = await ReadManifestAsync(ManifestReader.CheckSize(descriptor, ManifestReader.MaxManifestBytes, What), cancellationToken);
        if (Digest.Of(manifest) != descriptor.Digest)
            throw ManifestReader.Invalid($"the manifest of {What} is not the {descriptor.Digest} its index names");
        return (manifest, descriptor.MediaType);
    }

    protected override Task<byte[]> ReadManifestAsync(Descriptor descriptor, CancellationToken cancellationToken) =>
        ReadBlobAsync(descriptor, cancellationToken);

    protected override async Task<byte[]> ReadBlobAsync(Descriptor descriptor, CancellationToken cancellationToken) =>
        await ReadAsync(BlobPath(descriptor.Digest), descriptor.Size, cancellationToken)
            ?? throw ManifestReader.Invalid($"{What} has no blob {descriptor.Digest}");

    private async Task<byte[]?> ReadAsync(string path, long most, CancellationToken cancellationToken)
    {
        await using var stream = _files.Open(path);
        if (stream is null)
            return null;
        if (stream.Length > most)
            throw ManifestReader.Invalid($"{path} of {What} has {stream.Length} bytes; at most {most} are expected");
        var content = new byte[stream.Length];
        await stream.ReadExactlyAsync(content, cancellationToken);
        return content;
    }

    private static string BlobPath(Digest digest) => $"blobs/sha256/{digest.Hex}";

    /// <summary>The full name first.</summary>
    private static IEnumerable<string> NamesOf(JsonElement entry) =>
        entry.ValueKind == JsonValueKind.Object && entry.TryGetProperty("annotations", out var annotations)
            ? new[] { ManifestReader.Text(annotations, FullNameAnnotation), ManifestReader.Text(annotations, ReferenceAnnotation) }.OfType<string>()
            : [];
}

/// <summary>Files by relative path: a directory's, or an archive's members.</summary>
internal interface IBlobFiles : IDisposable
{
    /// <returns>A seekable stream, or null when there is no such file.</returns>
    Stream? Open(string path);
}

internal sealed class DirectoryFiles(string directory) : IBlobFiles
{
    public Stream? Open(string path)
    {
        var full = Path.Combine(directory, path);
        try
        {
            return RegularFile.TryOpen(full) is { } file ? new FileStream(file, FileAccess.Read, bufferSize: 0) : null;
        }
        catch (InvalidDataException e)
        {
            throw new ImageException("image-invalid", e.Message, e);
        }
    }

    public void Dispose()
    {
    }
}
