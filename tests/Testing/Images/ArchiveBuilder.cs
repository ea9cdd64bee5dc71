using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;

namespace Ravel.Testing.Images;

/// <summary>Archives as <c>docker save</c> and <c>skopeo copy</c> write them, of images made in memory.</summary>
public static class ArchiveBuilder
{
    /// <summary>A docker-archive with one image for each set of names, each with one layer that has the file <c>name</c>.</summary>
    /// <param name="change">Changes the text of <c>manifest.json</c> before it is stored.</param>
    public static byte[] Docker(string[][] images, Func<string, string>? change = null)
    {
        var tar = new TarBuilder();
        var entries = new List<string>();
        foreach (var names in images)
        {
            var layer = new TarBuilder().File("name", names.FirstOrDefault() ?? "nameless").ToArray();
            var config = $$"""{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:{{Hash(layer)}}"]} }""";
            var place = Hash(layer);
            tar.Entry('0', TarBuilder.Latin1($"{place}/layer.tar"), content: layer);
            tar.File($"{place}.json", config);
            var tags = string.Join(',', names.Select(name => $"\"{name}\""));
            entries.Add($$"""{"Config":"{{place}}.json","RepoTags":[{{tags}}],"Layers":["{{place}}/layer.tar"]}""");
        }
        var manifest = $"[{string.Join(',', entries)}]";
        return tar.File("manifest.json", change?.Invoke(manifest) ?? manifest).ToArray();
    }

    /// <summary>A layout directory as an oci-archive.</summary>
    public static byte[] Oci(string layout)
    {
        var tar = new TarBuilder();
        foreach (var file in Directory.EnumerateFiles(layout, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            tar.Entry('0', Encoding.UTF8.GetBytes(Path.GetRelativePath(layout, file)), content: File.ReadAllBytes(file));
        return tar.ToArray();
    }

    public static byte[] Gzip(byte[] content)
    {
        using var compressed = new MemoryStream();
        using (var stream = new GZipStream(compressed, CompressionLevel.Fastest, leaveOpen: true))
            stream.Write(content);
        return compressed.ToArray();
    }

    public static byte[] Zstd(byte[] content)
    {
        using var compressor = new ZstdSharp.Compressor();
        return compressor.Wrap(content).ToArray();
    }

    private static string Hash(byte[] content) => Convert.ToHexStringLower(SHA256.HashData(content));
}
