using System.IO.Compression;
using Ravel.Images;
using Ravel.Images.Archives;
using Ravel.Images.Build;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>Manifests, configurations and compressed layers made to mislead or to exhaust.</summary>
public sealed class HostileImageTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-hostile-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData("\"os\":\"linux\"", "\"os\":\"windows\"", "linux/amd64")]
    [InlineData("\"amd64\"", "\"arm64\"", "linux/amd64")]
    [InlineData("{\"Cmd\":[\"sh\"]}", "{\"Cmd\":\"sh\"}", "not a list")]
    [InlineData("{\"Cmd\":[\"sh\"]}", "{\"Cmd\":[1]}", "strings")]
    [InlineData("{\"Cmd\":[\"sh\"]}", "{\"Env\":[\"A=\\u0000\"]}", "NUL")]
    [InlineData("\"diff_ids\":[", "\"diff_ids\":[\"sha256:00\",", "digest")]
    [InlineData("\"rootfs\"", "\"other\"", "no rootfs")]
    [InlineData("}", "", "JSON")]
    public Task A_wrong_configuration_is_refused(string from, string to, string words) =>
        RefusedAsync(words, new LayoutBuilder(_directory) { Config = text => text.Replace(from, to, StringComparison.Ordinal) }.Layer(Plain()));

    [Theory]
    [InlineData("\"layers\"", "\"levels\"", "layers")]
    [InlineData("+gzip\"", "+gzip+encrypted\"", "")]
    [InlineData("application/vnd.oci.image.layer", "application/vnd.example", "not part of a file system")]
    [InlineData("\"size\":", "\"size\":-", "size")]
    [InlineData("\"size\":", "\"size\":9", "")]
    [InlineData("sha256:", "md5:", "digest")]
    public Task A_wrong_manifest_is_refused(string from, string to, string words) =>
        RefusedAsync(words, new LayoutBuilder(_directory) { Manifest = text => text.Replace(from, to, StringComparison.Ordinal) }.Layer(Plain()), mayPass: to.EndsWith("encrypted\"", StringComparison.Ordinal));

    [Fact]
    public Task An_environment_of_megabytes_is_refused() => RefusedAsync(
        "characters",
        new LayoutBuilder(_directory) { Config = text => text.Replace("{\"Cmd\":[\"sh\"]}", $"{{\"Env\":[\"A={new string('x', 2_000_000)}\"]}}", StringComparison.Ordinal) }.Layer(Plain()));

    [Fact]
    public Task Json_nested_without_end_is_refused() => RefusedAsync(
        "JSON", new LayoutBuilder(_directory) { Config = _ => new string('[', 100_000) }.Layer(Plain()));

    [Fact]
    public Task Too_many_layers_are_refused() => RefusedAsync(
        "over 3 layers", Enumerable.Range(0, 4).Aggregate(new LayoutBuilder(_directory), (builder, _) => builder.Layer(Plain())), new ImageLimits { MaxLayers = 3 });

    [Fact]
    public Task A_layer_that_unpacks_to_something_else_is_refused()
    {
        var other = Compress(new TarBuilder().File("other").ToArray());
        return RefusedAsync("configuration says", new LayoutBuilder(_directory).Layer(Plain(), change: _ => other));
    }

    [Fact]
    public Task A_bomb_of_zeros_is_refused_at_the_limit() => RefusedAsync(
        "unpack to over", new LayoutBuilder(_directory).Layer([.. Plain(), .. new byte[50_000_000]]), new ImageLimits { MaxLayerBytes = 10_000_000 });

    [Fact]
    public Task A_bomb_of_many_members_is_refused_at_the_limit()
    {
        var member = Compress(new byte[1_000_000]);
        return RefusedAsync(
            "unpack to over",
            new LayoutBuilder(_directory).Layer(Plain(), change: first => [.. first, .. Enumerable.Repeat(member, 50).SelectMany(bytes => bytes)]),
            new ImageLimits { MaxLayerBytes = 10_000_000 });
    }

    [Fact]
    public async Task Compressed_data_that_is_damaged_or_cut_is_refused()
    {
        for (var cut = 1; cut < 200; cut += 13)
            // Without a part of gzip's own trailer all data is there, and the diff id vouches for it.
            await RefusedAsync("", new LayoutBuilder(_directory).Layer(Plain(), change: stored => stored[..^Math.Min(cut, stored.Length - 4)]), mayPass: cut <= 8);
        for (var at = 10; at < 100; at += 9)
            await RefusedAsync("", new LayoutBuilder(_directory).Layer(Plain(), change: stored => Flip(stored, at)), mayPass: true);
    }

    [Fact]
    public Task A_zstd_frame_that_asks_for_gigabytes_of_window_is_refused() =>
        // Magic, a frame header without single segment, and a window descriptor of exponent 21: 2 GiB.
        RefusedAsync("compressed", new LayoutBuilder(_directory).Layer(Plain(), change: _ => [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00]));

    [Fact]
    public async Task A_digest_mismatch_is_refused()
    {
        var layout = new LayoutBuilder(_directory).Layer(Plain()).Build();
        foreach (var blob in Directory.GetFiles(Path.Combine(layout.Directory, "blobs", "sha256")))
        {
            var content = await File.ReadAllBytesAsync(blob);
            await File.WriteAllBytesAsync(blob, Flip(content, content.Length - 1));
            var error = await Assert.ThrowsAsync<ImageException>(() => BuildAsync(layout, new ImageLimits()));
            Assert.Equal("image-invalid", error.Code);
            await File.WriteAllBytesAsync(blob, content);
        }
    }

    [Fact]
    public async Task Bytes_behind_the_archive_are_part_of_the_layer_and_do_no_harm()
    {
        var layout = new LayoutBuilder(_directory).Layer([.. Plain(), .. new byte[100_000]]).Build();
        await BuildAsync(layout, new ImageLimits());
    }

    private static byte[] Plain() => new TarBuilder().File("hello", string.Concat(Enumerable.Range(0, 500))).ToArray();

    private static byte[] Compress(byte[] content)
    {
        using var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(content);
        return compressed.ToArray();
    }

    private static byte[] Flip(byte[] content, int at)
    {
        var flipped = content.ToArray();
        flipped[Math.Min(at, content.Length - 1)] ^= 0x10;
        return flipped;
    }

    private async Task RefusedAsync(string words, LayoutBuilder builder, ImageLimits? limits = null, bool mayPass = false)
    {
        var error = await Record.ExceptionAsync(() => BuildAsync(builder.Build(), limits ?? new ImageLimits()));
        if (error is null && mayPass)
            return;
        var typed = Assert.IsType<ImageException>(error);
        Assert.Contains(typed.Code, (string[])["image-invalid", "image-pull-failed"]);
        Assert.Contains(words, typed.Message);
        Assert.DoesNotContain('\n', typed.Message);
    }

    private async Task BuildAsync(OciLayout layout, ImageLimits limits)
    {
        await using var source = new OciLayoutSource(new DirectoryFiles(layout.Directory), null, layout.ToString(), limits);
        var manifest = await source.ResolveAsync(CancellationToken.None);
        using var file = File.OpenHandle(Path.Combine(_directory, "rootfs.erofs"), FileMode.Create, FileAccess.ReadWrite);
        await RootfsBuilder.BuildAsync(source, manifest, file, limits, durable: false, TimeProvider.System, null, CancellationToken.None);
    }
}
