using System.Security.Cryptography;
using Ravel.Images;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>A store on a file system with room for little (a tmpfs of 4 MiB).</summary>
public sealed class FullDiskTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-full-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string Data => Path.Combine(_directory, "data");

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(Data);
        await CommandRunner.RunCheckedAsync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", Data], cancellationToken: Cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        await CommandRunner.RunCheckedAsync("umount", [Data], cancellationToken: CancellationToken.None);
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task A_build_that_fills_the_disk_is_told_as_such_and_leaves_nothing()
    {
        using var store = await ImageStore.OpenAsync(new ImageStoreOptions { DataDirectory = Data }, TimeProvider.System, Cancellation);
        var small = await store.ImportAsync(Layout("small", 1000).Directory, "small", Cancellation);
        var free = new DriveInfo(Data).AvailableFreeSpace;
        var full = await Assert.ThrowsAsync<ImageException>(() => store.ImportAsync(Layout("large", 8_000_000).Directory, "large", Cancellation));
        Assert.Equal("disk-full", full.Code);
        Assert.Equal([small.ManifestDigest], store.List().Select(image => image.ManifestDigest));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(Data, "images", "tmp")));
        Assert.Equal(free, new DriveInfo(Data).AvailableFreeSpace);
    }

    [Theory]
    [InlineData(1, 100_000, "the layers of the image have 1 MiB, and 0 MiB of the disk are neither taken nor promised")]
    // There was room when it began, and is no more while it is written, or when it is.
    [InlineData(2, -1, "does not fit")]
    [InlineData(3, -1, "does not fit")]
    public async Task A_build_that_would_take_what_is_promised_to_others_is_refused_and_leaves_nothing(int from, long left, string words)
    {
        var asked = 0;
        using var store = await ImageStore.OpenAsync(new ImageStoreOptions { DataDirectory = Data }, TimeProvider.System, Cancellation);
        var free = new DriveInfo(Data).AvailableFreeSpace;
        store.KeepWithin(() => ++asked >= from ? left : long.MaxValue);
        var full = await Assert.ThrowsAsync<ImageException>(() => store.ImportAsync(Layout("image", 1_000_000).Directory, "image", Cancellation));
        Assert.Equal("disk-full", full.Code);
        Assert.Contains(words, full.Message, StringComparison.Ordinal);
        Assert.Empty(store.List());
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(Data, "images", "tmp")));
        Assert.Equal(free, new DriveInfo(Data).AvailableFreeSpace);

        store.KeepWithin(() => long.MaxValue);
        await store.ImportAsync(Layout("again", 1_000_000).Directory, "again", Cancellation);
    }

    [Fact]
    public async Task A_file_that_fills_the_disk_is_told_as_such_and_leaves_what_was_there()
    {
        var output = Path.Combine(Data, "rootfs.erofs");
        await File.WriteAllTextAsync(output, "before", Cancellation);
        var error = new StringWriter();
        var code = await RootfsBuildCommand.RunAsync(
            ["--image", $"oci:{Layout("large", 8_000_000).Directory}", "--output", output, "--quiet"], TextWriter.Null, error, Cancellation);
        Assert.Equal(1, code);
        Assert.Contains("is full", error.ToString());
        Assert.Equal("before", await File.ReadAllTextAsync(output, Cancellation));
        Assert.Equal([output], Directory.GetFiles(Data));
    }

    private OciLayout Layout(string name, int bytes) =>
        new LayoutBuilder(Directory.CreateDirectory(Path.Combine(_directory, name)).FullName)
            .Layer(new TarBuilder().File("data", RandomNumberGenerator.GetHexString(bytes)).ToArray())
            .Build();
}
