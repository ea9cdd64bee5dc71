using Ravel.Images;
using Ravel.Images.Archives;
using Ravel.Testing.Images;
using Ravel.Testing.Images.Hostile;

namespace Ravel.Unit.Images;

/// <summary>
/// Every hostile image through the whole way to a published file. Each is refused in one line that names the image, or built into a
/// rootfs that keeps it inside; nothing else on the host changes, and nothing half made is left.
/// </summary>
public sealed class HostileCatalogueTests
{
    public static TheoryData<string> Names => [.. HostileImage.All.Keys];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Names))]
    public async Task A_hostile_image_does_no_harm(string name)
    {
        var image = HostileImage.All[name];
        using var place = new HostilePlace(image.Write);
        var rootfs = Path.Combine(place.Output, "rootfs.erofs");
        var (failed, message) = image.Limits is { } limits
            ? await BuildAsync(place, rootfs, limits, image)
            : await RunAsync(place, rootfs);

        place.AssertUntouched();
        if (image.Words is null)
        {
            Assert.False(failed, message);
            var tree = new ErofsReader(await File.ReadAllBytesAsync(rootfs, Cancellation)).ReadAll();
            image.Check?.Invoke(tree);
            return;
        }
        Assert.True(failed);
        HostilePlace.AssertRefused(image, image.Codes[0], message, place.Layout);
        Assert.Empty(Directory.GetFileSystemEntries(place.Output));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_layer_cut_off_at_every_4_KiB_is_refused(bool gzip)
    {
        var archive = new TarBuilder().File("before").Entry('0', "f"u8.ToArray(), content: Noise(64 << 10)).ToArray();
        for (var cut = 0; cut < 64 << 10; cut += 4096)
        {
            // Its digest is right, so that only the cut tells; and for what is not compressed its diff id too.
            await RefusedAsync((layout, _) => (gzip
                ? new LayoutBuilder(layout).Layer(archive, change: stored => stored[..cut])
                : new LayoutBuilder(layout).Layer(archive[..(cut + 1536)], gzip: false)).Build());
        }
    }

    [Theory]
    [InlineData("index.json")]
    [InlineData("blobs")]
    public async Task A_document_or_blob_cut_off_at_any_place_is_refused(string part)
    {
        for (var tenth = 0; tenth < 10; tenth++)
        {
            await RefusedAsync((layout, _) =>
            {
                new LayoutBuilder(layout).Layer(new TarBuilder().Entry('0', "f"u8.ToArray(), content: Noise(64 << 10)).ToArray()).Build();
                foreach (var file in Directory.EnumerateFiles(layout, "*", SearchOption.AllDirectories).Where(file => file.Contains(part, StringComparison.Ordinal)))
                {
                    var content = File.ReadAllBytes(file);
                    // To a multiple of 4 KiB where it is that long.
                    var cut = content.Length * tenth / 10;
                    File.WriteAllBytes(file, content[..(cut > 4096 ? cut & -4096 : cut)]);
                }
            });
        }
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task An_archive_cut_off_at_every_4_KiB_is_refused(bool docker, bool gzip)
    {
        using var place = new HostilePlace((layout, _) => new LayoutBuilder(layout).Layer(new TarBuilder().Entry('0', "f"u8.ToArray(), content: Noise(32 << 10)).ToArray()).Build());
        var whole = docker ? DockerArchive() : LayoutArchive(place.Layout);
        if (gzip)
            whole = Testing.Images.Fuzzing.Compressed.Gzip(whole);
        var path = Path.Combine(place.Output, "archive.tar");
        var rootfs = Path.Combine(place.Output, "rootfs.erofs");
        for (var cut = 0; cut < whole.Length - 4096; cut += 4096)
        {
            await File.WriteAllBytesAsync(path, whole[..cut], Cancellation);
            var (failed, message) = await RunAsync($"{(docker ? "docker" : "oci")}-archive:{path}", rootfs);
            Assert.True(failed, $"cut at {cut}");
            Assert.Contains(path, message);
            Assert.Equal([path], Directory.GetFileSystemEntries(place.Output));
        }
        await File.WriteAllBytesAsync(path, whole, Cancellation);
        var (broken, why) = await RunAsync($"{(docker ? "docker" : "oci")}-archive:{path}", rootfs);
        Assert.False(broken, why);
    }

    private static async Task RefusedAsync(Action<string, string> write)
    {
        using var place = new HostilePlace(write);
        var (failed, message) = await RunAsync(place, Path.Combine(place.Output, "rootfs.erofs"));
        Assert.True(failed);
        Assert.Contains(place.Layout, message);
        Assert.Empty(Directory.GetFileSystemEntries(place.Output));
        place.AssertUntouched();
    }

    /// <summary>As the product does it, with what people see of it.</summary>
    private static Task<(bool Failed, string Message)> RunAsync(HostilePlace place, string rootfs) => RunAsync($"oci:{place.Layout}", rootfs);

    private static async Task<(bool Failed, string Message)> RunAsync(string image, string rootfs)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var exit = await RootfsBuildCommand.RunAsync(["--image", image, "--output", rootfs, "--quiet"], output, error, Cancellation);
        if (exit == 0)
            return (false, "");
        Assert.Empty(output.ToString());
        return (true, Assert.Single(error.ToString().TrimEnd('\n').Split('\n')));
    }

    /// <summary>With limits that the command does not offer.</summary>
    private static async Task<(bool Failed, string Message)> BuildAsync(HostilePlace place, string rootfs, ImageLimits limits, HostileImage image)
    {
        await using var source = new OciLayoutSource(new DirectoryFiles(place.Layout), null, $"oci:{place.Layout}", limits);
        var error = await Record.ExceptionAsync(() => RootfsFile.BuildAsync(source, rootfs, limits, TimeProvider.System, null, Cancellation));
        if (error is null)
            return (false, "");
        Assert.Contains(Assert.IsType<ImageException>(error).Code, image.Codes);
        return (true, error.Message);
    }

    private static byte[] Noise(int length)
    {
        var noise = new byte[length];
        new Random(1).NextBytes(noise);
        return noise;
    }

    private static byte[] LayoutArchive(string layout) => Directory.EnumerateFiles(layout, "*", SearchOption.AllDirectories)
        .OrderBy(file => new FileInfo(file).Length)
        .Aggregate(new TarBuilder(), (archive, file) => archive.Entry('0', TarBuilder.Latin1(Path.GetRelativePath(layout, file)), content: File.ReadAllBytes(file)))
        .ToArray();

    private static byte[] DockerArchive()
    {
        var layer = new TarBuilder().Entry('0', "f"u8.ToArray(), content: Noise(32 << 10)).ToArray();
        return new TarBuilder()
            .File("manifest.json", """[{"Config":"config.json","RepoTags":["app:1"],"Layers":["layer.tar"]}]""")
            .File("config.json", $$"""{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["{{Ravel.Images.Manifests.Digest.Of(layer)}}"]} }""")
            .Entry('0', "layer.tar"u8.ToArray(), content: layer).ToArray();
    }
}
