using System.Text;
using System.Text.Json;
using Ravel.Images.Manifests;

namespace Ravel.Images.Archives;

/// <summary>
/// An image in an archive of <c>docker save</c> (moby's image specification v1.2, "Combined Image JSON + Filesystem
/// Changeset Format"). It has no manifest, so one is made from the configuration and the layers' digests, always the same.
/// </summary>
internal sealed class DockerArchiveSource : IImageSource
{
    private readonly IBlobFiles _files;
    private readonly string? _name;
    private readonly string _what;
    private readonly ImageLimits _limits;

    /// <param name="name">Which image of the archive; null when it has only one.</param>
    public DockerArchiveSource(IBlobFiles files, string? name, string what, ImageLimits limits)
    {
        _files = files;
        _name = name;
        _what = what;
        _limits = limits;
    }

    /// <summary>The archive's name for the image; null when it has none.</summary>
    public string? Reference { get; private set; }

    public string Name => _what;

    public async Task<ImageManifest> ResolveAsync(CancellationToken cancellationToken)
    {
        var entry = Choose(await ReadAsync("manifest.json", ManifestReader.MaxManifestBytes, cancellationToken));
        Reference = ImageChoice.NameOf(entry, _name, Tags);
        var configPath = ManifestReader.Text(entry, "Config") ?? throw ManifestReader.Invalid($"{_what} names no configuration");
        var config = await ReadAsync(configPath, ManifestReader.MaxConfigBytes, cancellationToken);
        var (run, diffIds, created) = ConfigReader.Read(config, _what);
        var paths = ManifestReader.Array(entry, "Layers", _what)
            .Select(path => path.ValueKind == JsonValueKind.String ? path.GetString()! : throw ManifestReader.Invalid($"{_what} has a layer without a name"))
            .ToList();
        if (paths.Count != diffIds.Count || paths.Count > _limits.MaxLayers)
            throw ManifestReader.Invalid($"{_what} has {paths.Count} layers, but its configuration names {diffIds.Count}, and {_limits.MaxLayers} are the most");

        var layers = new List<Layer>();
        foreach (var (path, diffId) in paths.Zip(diffIds))
        {
            await using var file = _files.Open(path) ?? throw ManifestReader.Invalid($"{_what} has no layer {path}");
            layers.Add(new Layer(path, Digest: null, file.Length, diffId));
        }
        return new ImageManifest(SyntheticDigest(config, diffIds), layers, run, created);
    }

    public Task<Stream> OpenLayerAsync(Layer layer, long offset, CancellationToken cancellationToken)
    {
        var stream = _files.Open(layer.Name) ?? throw ManifestReader.Invalid($"{_what} has no layer {layer.Name}");
        stream.Seek(offset, SeekOrigin.Begin);
        return Task.FromResult(stream);
    }

    public TimeSpan? RetryDelay(Layer layer, Exception error, int attempt) => null;

    public ValueTask DisposeAsync()
    {
        _files.Dispose();
        return ValueTask.CompletedTask;
    }

    private JsonElement Choose(byte[] content)
    {
        JsonElement manifest;
        try
        {
            manifest = UntrustedJson.Parse(content);
        }
        catch (JsonException e)
        {
            throw new ImageException("image-invalid", $"manifest.json of {_what} is not JSON: {e.Message}", e);
        }
        if (manifest.ValueKind != JsonValueKind.Array)
            throw ManifestReader.Invalid($"manifest.json of {_what} is not a list");
        var entries = manifest.EnumerateArray().Where(entry => entry.ValueKind == JsonValueKind.Object).ToList();
        var matches = _name is null ? entries : ImageChoice.Among(entries, _name, Tags);
        return matches.Count switch
        {
            1 => matches[0],
            0 => throw new ImageException(
                "image-not-found", _name is null ? $"{_what} holds no image" : $"{_what} holds no image {_name}; it has {ImageChoice.Show(entries, Tags)}"),
            _ => throw new ImageException("invalid-request", $"{_what} holds several images; name one of {ImageChoice.Show(entries, Tags)}"),
        };
    }

    private static IEnumerable<string> Tags(JsonElement entry) =>
        entry.TryGetProperty("RepoTags", out var tags) && tags.ValueKind == JsonValueKind.Array
            ? tags.EnumerateArray().Where(tag => tag.ValueKind == JsonValueKind.String).Select(tag => tag.GetString()!)
            : [];

    /// <summary>The digest of the OCI manifest the image would have with its layers uncompressed.</summary>
    private static Digest SyntheticDigest(byte[] config, IReadOnlyList<Digest> diffIds)
    {
        var text = new StringBuilder();
        text.Append($"{{\"schemaVersion\":2,\"mediaType\":\"{MediaTypes.OciManifest}\",");
        text.Append($"\"config\":{{\"mediaType\":\"{MediaTypes.OciConfig}\",\"digest\":\"{Digest.Of(config)}\",\"size\":{config.Length}}},\"layers\":[");
        text.AppendJoin(',', diffIds.Select(id => $"{{\"mediaType\":\"{MediaTypes.OciLayer}\",\"digest\":\"{id}\"}}"));
        text.Append("]}");
        return Digest.Of(Encoding.UTF8.GetBytes(text.ToString()));
    }

    private async Task<byte[]> ReadAsync(string path, long most, CancellationToken cancellationToken)
    {
        await using var stream = _files.Open(path)
            ?? throw new ImageException("image-not-found", $"{_what} has no {path}: it is not an archive of docker save");
        if (stream.Length > most)
            throw ManifestReader.Invalid($"{path} of {_what} has {stream.Length} bytes; at most {most} are read");
        var content = new byte[stream.Length];
        await stream.ReadExactlyAsync(content, cancellationToken);
        return content;
    }
}
