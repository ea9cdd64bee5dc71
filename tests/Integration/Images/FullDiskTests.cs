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
