using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;

namespace Ravel.Testing.Images;

/// <summary>Writes an OCI layout from layers made in memory, right or, where a test changes a document, wrong.</summary>
public sealed class LayoutBuilder(string directory)
{
    private readonly List<(string Digest, long Size, string DiffId)> _layers = [];

    /// <summary>Changes the configuration's text before it is stored.</summary>
    public Func<string, string> Config { get; init; } = text => text;

    /// <summary>Changes the manifest's text before it is stored.</summary>
    public Func<string, string> Manifest { get; init; } = text => text;

    /// <summary>Of the configuration.</summary>
    public Encoding Encoding { get; init; } = Encoding.UTF8;

    public LayoutBuilder Layer(byte[] archive, bool gzip = true, Func<byte[], byte[]>? change = null)
    {
        var stored = archive;
        if (gzip)
        {
            using var compressed = new MemoryStream();
            using (var inflater = new GZipStream(compressed, CompressionLevel.Fastest, leaveOpen: true))
                inflater.Write(archive);
            stored = compressed.ToArray();
        }
        stored = change?.Invoke(stored) ?? stored;
        _layers.Add((Store(stored), stored.Length, DigestOf(archive)));
        return this;
    }

    public OciLayout Build()
    {
        var diffIds = string.Join(',', _layers.Select(layer => $"\"{layer.DiffId}\""));
        var config = Encoding.GetBytes(Config(
            $$"""{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":[{{diffIds}}] } }"""));
        var layers = string.Join(',', _layers.Select(layer =>
            $$"""{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{{layer.Digest}}","size":{{layer.Size}} }"""));
        var manifest = Encoding.UTF8.GetBytes(Manifest(
            $$"""
            {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{{Store(config)}}","size":{{config.Length}} },"layers":[{{layers}}]}
            """));
        File.WriteAllText(Path.Combine(directory, "oci-layout"), """{"imageLayoutVersion":"1.0.0"}""");
        File.WriteAllText(
            Path.Combine(directory, "index.json"),
            $$"""
            {"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{{Store(manifest)}}","size":{{manifest.Length}},"annotations":{"org.opencontainers.image.ref.name":"latest"} }]}
            """);
        return new OciLayout(directory);
    }

    private string Store(byte[] content)
    {
        var digest = DigestOf(content);
        var blobs = Directory.CreateDirectory(Path.Combine(directory, "blobs", "sha256"));
        File.WriteAllBytes(Path.Combine(blobs.FullName, digest["sha256:".Length..]), content);
        return digest;
    }

    private static string DigestOf(byte[] content) => $"sha256:{Convert.ToHexStringLower(SHA256.HashData(content))}";
}
