using Ravel.Images;
using Ravel.Images.Archives;
using Ravel.Images.Build;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>What the catalogue of hostile images has no name for: single words of a manifest or configuration, and any byte of a layer.</summary>
public sealed class HostileImageTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-hostile-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData("\"os\":\"linux\"", "\"os\":\"windows\"", "linux/amd64")]
    [InlineData("\"amd64\"", "\"arm64\"", "linux/amd64")]
    [InlineData("\"diff_ids\":[", "\"diff_ids\":[\"sha256:00\",", "digest")]
    [InlineData("\"rootfs\"", "\"other\"", "no rootfs")]
    [InlineData("}", "", "JSON")]
    public Task A_wrong_configuration_is_refused(string from, string to, string words) =>
        RefusedAsync(words, new LayoutBuilder(_directory) { Config = text => text.Replace(from, to, StringComparison.Ordinal) }.Layer(Plain()));

    [Theory]
    [InlineData("\"layers\"", "\"levels\"", "layers")]
    [InlineData("+gzip\"", "+gzip+encrypted\"", "")]
    [InlineData("application/vnd.oci.image.layer", "application/vnd.example", "not part of a file system")]
    [InlineData("\"size\":", "\"size\":9", "")]
    [InlineData("sha256:", "md5:", "digest")]
    public Task A_wrong_manifest_is_refused(string from, string to, string words) =>
        RefusedAsync(words, new LayoutBuilder(_directory) { Manifest = text => text.Replace(from, to, StringComparison.Ordinal) }.Layer(Plain()), mayPass: to.EndsWith("encrypted\"", StringComparison.Ordinal));

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
    public async Task Bytes_behind_the_archive_are_part_of_the_layer_and_do_no_harm()
    {
        var layout = new LayoutBuilder(_directory).Layer([.. Plain(), .. new byte[100_000]]).Build();
        await BuildAsync(layout);
    }

    private static byte[] Plain() => new TarBuilder().File("hello", string.Concat(Enumerable.Range(0, 500))).ToArray();

    private static byte[] Flip(byte[] content, int at)
    {
        var flipped = content.ToArray();
        flipped[Math.Min(at, content.Length - 1)] ^= 0x10;
        return flipped;
    }

    private async Task RefusedAsync(string words, LayoutBuilder builder, bool mayPass = false)
    {
        var error = await Record.ExceptionAsync(() => BuildAsync(builder.Build()));
        if (error is null && mayPass)
            return;
        var typed = Assert.IsType<ImageException>(error);
        Assert.Contains(typed.Code, (string[])["image-invalid", "image-pull-failed"]);
        Assert.Contains(words, typed.Message);
        Assert.DoesNotContain('\n', typed.Message);
    }

    private async Task BuildAsync(OciLayout layout)
    {
        var limits = new ImageLimits();
        await using var source = new OciLayoutSource(new DirectoryFiles(layout.Directory), null, layout.ToString(), limits);
        var manifest = await source.ResolveAsync(CancellationToken.None);
        using var file = File.OpenHandle(Path.Combine(_directory, "rootfs.erofs"), FileMode.Create, FileAccess.ReadWrite);
        await RootfsBuilder.BuildAsync(source, manifest, file, limits, durable: false, TimeProvider.System, null, CancellationToken.None);
    }
}
