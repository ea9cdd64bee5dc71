using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Ravel.Images.Manifests;

namespace Ravel.Images.Archives;

/// <summary>The JSON around the one layer of an exported image (OCI image specification, config.md, manifest.md, image-index.md).</summary>
internal static class ImageDocuments
{
    /// <param name="created">Seconds since 1970; 0 when the image has no time.</param>
    public static byte[] Config(ImageConfig run, long created, Digest layer) => Write(json =>
    {
        var time = created == 0
            ? null
            : DateTimeOffset.FromUnixTimeSeconds(created).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
        if (time is not null)
            json.WriteString("created", time);
        json.WriteString("architecture", run.Architecture.Length > 0 ? run.Architecture : "amd64");
        json.WriteString("os", "linux");
        json.WriteStartObject("config");
        Text(json, "User", run.User);
        Keys(json, "ExposedPorts", run.ExposedPorts);
        List(json, "Env", run.Env);
        List(json, "Entrypoint", run.Entrypoint);
        List(json, "Cmd", run.Cmd);
        Text(json, "WorkingDir", run.WorkingDir);
        Keys(json, "Volumes", run.Volumes);
        Labels(json, run.Labels);
        Text(json, "StopSignal", run.StopSignal);
        json.WriteEndObject();
        json.WriteStartObject("rootfs");
        json.WriteString("type", "layers");
        List(json, "diff_ids", [layer.ToString()]);
        json.WriteEndObject();
        json.WriteStartArray("history");
        json.WriteStartObject();
        if (time is not null)
            json.WriteString("created", time);
        json.WriteString("created_by", "ravel image export");
        json.WriteString("comment", "all layers in one");
        json.WriteEndObject();
        json.WriteEndArray();
    });

    public static byte[] Manifest(byte[] config, Digest layer, long layerBytes) => Write(json =>
    {
        json.WriteNumber("schemaVersion", 2);
        json.WriteString("mediaType", MediaTypes.OciManifest);
        json.WriteStartObject("config");
        Descriptor(json, MediaTypes.OciConfig, Digest.Of(config), config.Length);
        json.WriteEndObject();
        json.WriteStartArray("layers");
        json.WriteStartObject();
        Descriptor(json, MediaTypes.OciLayer, layer, layerBytes);
        json.WriteEndObject();
        json.WriteEndArray();
    });

    public static byte[] Index(byte[] manifest, ImageReference? name) => Write(json =>
    {
        json.WriteNumber("schemaVersion", 2);
        json.WriteString("mediaType", MediaTypes.OciIndex);
        json.WriteStartArray("manifests");
        json.WriteStartObject();
        Descriptor(json, MediaTypes.OciManifest, Digest.Of(manifest), manifest.Length);
        if (name?.Tag is not null)
        {
            // As Docker and containerd do: OCI's name is the tag, and containerd's has all of it.
            json.WriteStartObject("annotations");
            json.WriteString("io.containerd.image.name", TaggedName(name));
            json.WriteString("org.opencontainers.image.ref.name", name.Tag);
            json.WriteEndObject();
        }
        json.WriteEndObject();
        json.WriteEndArray();
    });

    /// <summary>The list of a docker-archive.</summary>
    public static byte[] DockerManifest(string config, string layer, ImageReference? name)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartArray();
            json.WriteStartObject();
            json.WriteString("Config", config);
            json.WriteStartArray("RepoTags");
            if (name?.Tag is not null)
                json.WriteStringValue(TaggedName(name));
            json.WriteEndArray();
            json.WriteStartArray("Layers");
            json.WriteStringValue(layer);
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndArray();
        }
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Without a digest: that is of the image as it was pulled, not of this one.</summary>
    private static string TaggedName(ImageReference name) => (name with { Digest = null }).ToString();

    private static byte[] Write(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            write(json);
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }

    private static void Descriptor(Utf8JsonWriter json, string mediaType, Digest digest, long size)
    {
        json.WriteString("mediaType", mediaType);
        json.WriteString("digest", digest.ToString());
        json.WriteNumber("size", size);
    }

    private static void Text(Utf8JsonWriter json, string name, string value)
    {
        if (value.Length > 0)
            json.WriteString(name, value);
    }

    private static void List(Utf8JsonWriter json, string name, IReadOnlyList<string> values)
    {
        if (values.Count == 0)
            return;
        json.WriteStartArray(name);
        foreach (var value in values)
            json.WriteStringValue(value);
        json.WriteEndArray();
    }

    private static void Labels(Utf8JsonWriter json, IReadOnlyDictionary<string, string> labels)
    {
        if (labels.Count == 0)
            return;
        json.WriteStartObject("Labels");
        foreach (var (name, value) in labels.OrderBy(label => label.Key, StringComparer.Ordinal))
            json.WriteString(name, value);
        json.WriteEndObject();
    }

    private static void Keys(Utf8JsonWriter json, string name, IReadOnlyList<string> keys)
    {
        if (keys.Count == 0)
            return;
        json.WriteStartObject(name);
        foreach (var key in keys)
        {
            json.WriteStartObject(key);
            json.WriteEndObject();
        }
        json.WriteEndObject();
    }
}
