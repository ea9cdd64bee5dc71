using System.Text.Json;

namespace Ravel.Images.Manifests;

/// <summary>
/// Reads indexes, manifests and configurations (OCI image specification; Docker's are the same where it matters). All
/// are a stranger's JSON: size and depth are bounded by the caller and the parser, and every field is checked.
/// </summary>
internal static class ManifestReader
{
    /// <summary>What registries limit manifests to (OCI distribution specification, "Pushing Manifests").</summary>
    public const int MaxManifestBytes = 4 * 1024 * 1024;

    public const int MaxConfigBytes = 8 * 1024 * 1024;

    /// <summary>Entrypoint, command, environment and the like together: a guest takes no more over its link.</summary>
    public const int MaxRunSettingsCharacters = 512 * 1024;

    private const int MaxIndexEntries = 10_000;

    /// <summary>Parses a manifest or index.</summary>
    /// <exception cref="ImageException"><c>image-invalid</c>: not JSON, or not an object.</exception>
    public static JsonElement Parse(ReadOnlyMemory<byte> content, string what)
    {
        try
        {
            var document = UntrustedJson.Parse(content);
            return document.ValueKind == JsonValueKind.Object ? document : throw Invalid($"{what} is not a JSON object");
        }
        catch (JsonException e)
        {
            throw new ImageException("image-invalid", $"{what} is not JSON: {e.Message}", e);
        }
    }

    /// <summary>What a document says it is, or what its fields show; null when neither tells.</summary>
    public static string? MediaTypeOf(JsonElement document, string? announced)
    {
        if (Text(document, "mediaType") is { Length: > 0 } own)
            return own;
        if (announced is not null && (MediaTypes.IsIndex(announced) || MediaTypes.IsManifest(announced)))
            return announced;
        if (document.TryGetProperty("manifests", out _))
            return MediaTypes.OciIndex;
        if (document.TryGetProperty("layers", out _) && document.TryGetProperty("config", out _))
            return MediaTypes.OciManifest;
        return null;
    }

    /// <summary>The entry of an index for linux/amd64.</summary>
    /// <exception cref="ImageException"><c>image-not-found</c>: it has none, naming those it has.</exception>
    public static Descriptor SelectPlatform(JsonElement index, string what)
    {
        var platforms = new List<string>();
        Descriptor? best = null;
        Descriptor? only = null;
        var level = 0;
        var count = 0;
        foreach (var entry in Array(index, "manifests", $"the index of {what}"))
        {
            if (++count > MaxIndexEntries)
                throw Invalid($"the index of {what} has over {MaxIndexEntries} entries");
            var mediaType = Text(entry, "mediaType") ?? "";
            if (!MediaTypes.IsIndex(mediaType) && !MediaTypes.IsManifest(mediaType))
                continue;
            if (!entry.TryGetProperty("platform", out var platform) || platform.ValueKind != JsonValueKind.Object)
            {
                only = ReadDescriptor(entry, what);
                continue;
            }
            var os = Text(platform, "os") ?? "";
            var architecture = Text(platform, "architecture") ?? "";
            if (os == "linux" && architecture == "amd64")
            {
                // Plain amd64 runs everywhere; each later level needs newer processors.
                var needs = LevelOf(Text(platform, "variant"));
                if (best is null || needs < level)
                    (best, level) = (ReadDescriptor(entry, what), needs);
                if (level == 1)
                    break;
            }
            else if (os != "unknown")
            {
                platforms.Add($"{os}/{architecture}");
            }
        }
        if (best is not null)
            return best;
        if (only is not null && platforms.Count == 0)
            return only;
        throw new ImageException("image-not-found", platforms.Count == 0
            ? $"the index of {what} names no image"
            : $"{what} is for {string.Join(", ", platforms.Distinct().Take(8))}, but not for linux/amd64");
    }

    public static Descriptor ReadDescriptor(JsonElement element, string what)
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw Invalid($"a descriptor of {what} is not an object");
        var digest = Digest.Parse(Text(element, "digest"), $"a digest of {what}");
        if (!element.TryGetProperty("size", out var number) || number.ValueKind != JsonValueKind.Number
            || !number.TryGetInt64(out var size) || size < 0)
            throw Invalid($"{digest} of {what} has no proper size");
        return new Descriptor(Text(element, "mediaType") ?? "", digest, size);
    }

    /// <summary>Configuration and layers of a manifest.</summary>
    public static (Descriptor Config, IReadOnlyList<Descriptor> Layers) ReadManifest(JsonElement manifest, string what, ImageLimits limits)
    {
        if (!manifest.TryGetProperty("config", out var configElement))
            throw Invalid($"the manifest of {what} names no configuration");
        var config = ReadDescriptor(configElement, what);
        var layers = new List<Descriptor>();
        long total = 0;
        foreach (var element in Array(manifest, "layers", $"the manifest of {what}"))
        {
            if (layers.Count >= limits.MaxLayers)
                throw Invalid($"{what} has over {limits.MaxLayers} layers");
            var layer = ReadDescriptor(element, what);
            if (IsForeign(layer.MediaType))
                throw Invalid($"{layer.Digest} of {what} is a foreign layer, which its registry does not hold; push the image with all its layers");
            if (!IsLayer(layer.MediaType))
                throw Invalid($"{what} has a layer of type {layer.MediaType}, which is not part of a file system");
            if (layer.Size > limits.MaxCompressedBytes - total)
                throw Invalid($"the layers of {what} have over {limits.MaxCompressedBytes} bytes");
            total += layer.Size;
            layers.Add(layer);
        }
        return (config, layers);
    }

    public static Descriptor CheckSize(Descriptor descriptor, int most, string what) =>
        descriptor.Size <= most
            ? descriptor
            : throw Invalid($"{what} has {descriptor.Size} bytes; at most {most} are read");

    private static bool IsLayer(string mediaType) =>
        mediaType.StartsWith(MediaTypes.OciLayer, StringComparison.Ordinal)
        || mediaType.StartsWith("application/vnd.docker.image.rootfs.diff.tar", StringComparison.Ordinal);

    /// <summary>Kept at an address that the manifest names: it would have this host fetch from anywhere.</summary>
    private static bool IsForeign(string mediaType) =>
        mediaType.StartsWith("application/vnd.oci.image.layer.nondistributable.", StringComparison.Ordinal)
        || mediaType.StartsWith("application/vnd.docker.image.rootfs.foreign.", StringComparison.Ordinal);

    /// <summary>The x86-64 level a variant asks for: 1 to 4, or 5 for one that nobody knows.</summary>
    private static int LevelOf(string? variant) => variant switch
    {
        null or "" or "v1" => 1,
        "v2" => 2,
        "v3" => 3,
        "v4" => 4,
        _ => 5,
    };

    internal static string? Text(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;

    internal static IEnumerable<JsonElement> Array(JsonElement element, string name, string what) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Array
            ? value.EnumerateArray()
            : throw Invalid($"{what} has no list of {name}");

    internal static ImageException Invalid(string message) => new("image-invalid", message);
}
