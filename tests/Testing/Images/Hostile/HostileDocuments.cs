using System.Text;
using System.Text.Json.Nodes;
using Ravel.Images.Manifests;

namespace Ravel.Testing.Images.Hostile;

/// <summary>Indexes, manifests and configurations that lie, loop or swell, and blobs that are not what they are said to be.</summary>
internal static class HostileDocuments
{
    private const string Run = "{\"Cmd\":[\"sh\"]}";

    private static readonly byte[] Plain = new TarBuilder().File("hello").ToArray();

    public static IEnumerable<HostileImage> All =>
    [
        // The configuration
        new("An environment of megabytes", Config(Run, $"{{\"Env\":[\"A={new string('x', 3 << 20)}\"]}}"), "characters of command and environment"),
        new("An environment of a hundred thousand variables", Config(Run, $"{{\"Env\":[{string.Join(',', Enumerable.Repeat("\"A=\"", 100_000))}]}}"), "list of at most"),
        new("A configuration of too many megabytes", Config(Run, $"{{\"Labels\":{{\"a\":\"{new string('x', 9 << 20)}\"}}}}"), "at most 8388608 are read"),
        new("A configuration nested a hundred thousand deep", Config(Run, new string('[', 100_000)), "is not JSON"),
        new("A configuration with a key that stands twice", Config(Run, "{\"Cmd\":[\"sh\"],\"Cmd\":[\"evil\"]}"), "is not JSON"),
        new("A configuration with a key that stands twice, once escaped", Config(Run, "{\"Cmd\":[\"sh\"],\"\\u0043md\":[\"evil\"]}"), "is not JSON"),
        new("A NUL in the environment", Config(Run, "{\"Env\":[\"A=\\u0000\"]}"), "NUL"),
        new("A NUL in a port", Config(Run, "{\"ExposedPorts\":{\"\\u0000\":{}}}"), "NUL"),
        new("Half a character in the environment", Config(Run, "{\"Env\":[\"A=\\ud800\"]}"), "half a character"),
        new("Half a character as a key", Config(Run, "{\"\\udc00\":1}"), "half a character"),
        new("Bytes that are no text", Config(Run, "{\"User\":\"\u00ff\"}", Encoding.Latin1), "not UTF-8"),
        new("A command that is no list", Config(Run, "{\"Cmd\":\"sh\"}"), "not a list"),
        new("A command of numbers", Config(Run, "{\"Cmd\":[1e400]}"), "strings"),
        new("Ten thousand diff ids for one layer", Config("\"diff_ids\":[", $"\"diff_ids\":[{string.Concat(Enumerable.Repeat($"\"{Digest.Of([])}\",", 10_000))}"), "but its configuration names 10001"),
        new("A platform with line breaks in its name", Config("\"linux\"", "\"lin\\nux\\u001b[2J\\u202e\""), "not for linux/amd64"),

        // The manifest
        new("A size with an exponent", Manifest("\"size\":", "\"size\":1e300,\"was\":"), "no proper size"),
        new("A size beyond 64 bits", Manifest("\"size\":", "\"size\":99999999999999999999,\"was\":"), "no proper size"),
        new("A size below zero", Manifest("\"size\":", "\"size\":-"), "no proper size"),
        new("A size in text", Manifest("\"size\":", "\"size\":\"1\",\"was\":"), "no proper size"),
        new("A size of exabytes", Manifest("tar+gzip\",", "tar+gzip\",\"urls\":[],", text => text.Insert(text.LastIndexOf("\"size\":", StringComparison.Ordinal) + 7, "90000000000")), "bytes"),
        new("A layer longer than its descriptor says", (layout, _) => Change(layout, LayerOf, blob => [.. blob, 0]), "is longer than"),
        new("A layer shorter than its descriptor says", (layout, _) => Change(layout, LayerOf, blob => blob[..^1]), "ended after") { Codes = ["image-pull-failed", "image-invalid"] },
        new("A layer that is missing", (layout, _) => Change(layout, LayerOf, _ => null), "has no layer"),
        new("A layer kept elsewhere", (layout, canary) =>
        {
            Manifest("application/vnd.oci.image.layer.v1.tar+gzip\"", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\",\"urls\":[\"http://169.254.169.254/latest\"]")(layout, canary);
            File.Delete(LayerOf(layout));
        }, "layer"),
        new("A digest that climbs out", Manifest("\"digest\":\"sha256:", "\"digest\":\"sha256:../../../../etc/passwd"), "not a sha256 digest"),
        new("A digest of another algorithm", Manifest("sha256:", "sha512:"), "not a sha256 digest"),
        new("A manifest with a key that stands twice", Manifest("\"layers\":", "\"layers\":[],\"layers\":"), "is not JSON"),
        new("Layers by the thousand", Manifest("\"layers\":[", $"\"layers\":[{string.Concat(Enumerable.Repeat(Descriptor(MediaTypes.OciLayer, Digest.Of([]).ToString(), "0") + ",", 1000))}"), "over 512 layers"),
        new("A manifest that is a list", Manifest("{\"schemaVersion\"", "[{\"schemaVersion\"", text => text.TrimEnd() + "]"), "not a JSON object"),

        // The index
        new("An index of indexes deeper than anyone nests them", (layout, canary) => Wrap(layout, canary, 7), "indexes inside one another"),
        new("An index that names itself", (layout, _) =>
        {
            new LayoutBuilder(layout).Layer(Plain).Build();
            // No document can hold its own digest; what claims to is not what its name says.
            var name = Digest.Of("itself"u8).ToString();
            var index = $"{{\"schemaVersion\":2,\"manifests\":[{Descriptor(MediaTypes.OciIndex, name, "150")}]}}";
            File.WriteAllText(Path.Combine(layout, "blobs", "sha256", name["sha256:".Length..]), index);
            WriteIndex(layout, Descriptor(MediaTypes.OciIndex, name, $"{index.Length}"));
        }, "its index names"),
        new("An index of entries without end", (layout, _) =>
        {
            new LayoutBuilder(layout).Layer(Plain).Build();
            var entry = Descriptor(MediaTypes.OciManifest, Digest.Of([]).ToString(), "2").Insert(1, "\"platform\":{\"os\":\"a\",\"architecture\":\"b\"},");
            Nest(layout, string.Join(',', Enumerable.Repeat(entry, 10_001)));
        }, "over 10000 entries"),
        new("An index of things that are no descriptors", (layout, _) => Nest(layout, "null,1,\"x\",[],{}"), "names no image") { Codes = ["image-not-found"] },
        new("A manifest of megabytes", (layout, _) =>
        {
            new LayoutBuilder(layout).Layer(Plain).Build();
            WriteIndex(layout, Descriptor(MediaTypes.OciManifest, Digest.Of([]).ToString(), $"{100 << 20}"));
        }, "at most 4194304 are read"),

        // Digests
        // In the time of its gzip header, which changes nothing of what comes out.
        new("A layer that is another", (layout, _) => Change(layout, LayerOf, blob => Flip(blob, 4)), "arrived as"),
        new("A layer that unpacks to another", (layout, _) => new LayoutBuilder(layout).Layer(Plain, change: _ => Fuzzing.Compressed.Gzip(new TarBuilder().File("other").ToArray())).Build(), "configuration says"),
        new("A configuration that is another", (layout, _) => Change(layout, ConfigOf, blob => Flip(blob, blob.Length - 1)), "arrived"),
        new("A manifest that is another", (layout, _) => Change(layout, ManifestOf, blob => Flip(blob, blob.Length - 1)), "its index names"),
    ];

    private static Action<string, string> Config(string from, string to, Encoding? encoding = null) => (layout, _) =>
    {
        new LayoutBuilder(layout) { Config = text => text.Replace(from, to, StringComparison.Ordinal), Encoding = encoding ?? Encoding.UTF8 }.Layer(Plain).Build();
    };

    private static Action<string, string> Manifest(string from, string to, Func<string, string>? then = null) => (layout, _) =>
        new LayoutBuilder(layout) { Manifest = text => (then ?? (same => same))(text.Replace(from, to, StringComparison.Ordinal)) }.Layer(Plain).Build();

    private static string Descriptor(string mediaType, string digest, string size) =>
        $"{{\"mediaType\":\"{mediaType}\",\"digest\":\"{digest}\",\"size\":{size}}}";

    private static void WriteIndex(string layout, string entries) =>
        File.WriteAllText(Path.Combine(layout, "index.json"), $"{{\"schemaVersion\":2,\"manifests\":[{entries}]}}");

    /// <summary>Puts one index more between index.json and what it names.</summary>
    private static void Nest(string layout, string entries)
    {
        var index = Encoding.UTF8.GetBytes($"{{\"schemaVersion\":2,\"manifests\":[{entries}]}}");
        var blobs = Directory.CreateDirectory(Path.Combine(layout, "blobs", "sha256"));
        File.WriteAllBytes(Path.Combine(blobs.FullName, Digest.Of(index).Hex), index);
        WriteIndex(layout, Descriptor(MediaTypes.OciIndex, Digest.Of(index).ToString(), $"{index.Length}"));
    }

    private static void Wrap(string layout, string canary, int times)
    {
        new LayoutBuilder(layout).Layer(Plain).Build();
        for (; times > 0; times--)
            Nest(layout, JsonNode.Parse(File.ReadAllText(Path.Combine(layout, "index.json")))!["manifests"]![0]!.ToJsonString());
    }

    private static void Change(string layout, Func<string, string> path, Func<byte[], byte[]?> change)
    {
        new LayoutBuilder(layout).Layer(Plain).Build();
        var file = path(layout);
        var content = change(File.ReadAllBytes(file));
        File.Delete(file);
        if (content is not null)
            File.WriteAllBytes(file, content);
    }

    private static string LayerOf(string layout) => BlobOf(layout, Document(ManifestOf(layout))["layers"]![0]!);

    private static string ConfigOf(string layout) => BlobOf(layout, Document(ManifestOf(layout))["config"]!);

    private static string ManifestOf(string layout) => BlobOf(layout, Document(Path.Combine(layout, "index.json"))["manifests"]![0]!);

    private static JsonNode Document(string path) => JsonNode.Parse(File.ReadAllBytes(path))!;

    private static string BlobOf(string layout, JsonNode descriptor) =>
        Path.Combine(layout, "blobs", "sha256", descriptor["digest"]!.GetValue<string>()["sha256:".Length..]);

    private static byte[] Flip(byte[] content, int at)
    {
        content[at] ^= 0x10;
        return content;
    }
}
