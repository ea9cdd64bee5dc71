using Ravel.Images;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>Exported images of real software, as other tools read them.</summary>
public sealed class ImageExportTests : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-export-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync() => await ImageRecipe.DeleteAsync(_directory);

    [Theory]
    [InlineData(ExportFormat.OciArchive, "oci-archive")]
    [InlineData(ExportFormat.DockerArchive, "docker-archive")]
    public async Task Skopeo_and_umoci_read_what_is_exported_and_unpack_the_same_tree(ExportFormat format, string transport)
    {
        var layout = await TestImages.NginxAsync(Cancellation);
        using var store = await ImageStore.OpenAsync(
            new ImageStoreOptions { DataDirectory = Path.Combine(_directory, "data") }, TimeProvider.System, Cancellation);
        var image = await store.ImportAsync(layout.Directory, "web/nginx:1", Cancellation);
        var archive = Path.Combine(_directory, "nginx.tar");
        using (var export = await ImageExport.OpenAsync(image, ImageReference.Parse("web/nginx:1"), format, Cancellation))
        {
            await using var file = File.Create(archive);
            await export.WriteAsync(file, Cancellation);
            Assert.Equal(export.Length, file.Length);
        }

        var copy = Path.Combine(_directory, "copy");
        await RunAsync("skopeo", "copy", "--quiet", "--insecure-policy", $"{transport}:{archive}", $"oci:{copy}:1");
        var config = await RunAsync("skopeo", "inspect", "--config", $"{transport}:{archive}");
        await RunAsync("umoci", "unpack", "--image", $"{copy}:1", Path.Combine(_directory, "bundle"));

        Assert.All(image.Config.Entrypoint.Concat(image.Config.Cmd).Concat(image.Config.Env), word => Assert.Contains(word, config));
        await using var mounted = await MountedErofs.MountAsync(image.RootfsPath, Cancellation);
        Assert.Equal([], TreeComparer.Compare(mounted.Path, Path.Combine(_directory, "bundle", "rootfs")));

        var again = await store.ImportAsync(archive, "again", Cancellation);
        await using var imported = await MountedErofs.MountAsync(again.RootfsPath, Cancellation);
        Assert.Equal([], TreeComparer.Compare(mounted.Path, imported.Path));
        Assert.Equivalent(image.Config, again.Config);
    }

    private static async Task<string> RunAsync(string program, params string[] arguments) =>
        await CommandRunner.RunCheckedAsync(program, arguments, timeout: TimeSpan.FromMinutes(2), cancellationToken: Cancellation);
}
