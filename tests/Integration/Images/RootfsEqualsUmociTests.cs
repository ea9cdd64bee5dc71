using Ravel.Images;
using Ravel.Images.Archives;
using Ravel.Images.Build;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>The kernel's view of our rootfs against <c>umoci unpack</c> of the same image.</summary>
public sealed class RootfsEqualsUmociTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-rootfs-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Busybox() => await CompareAsync(await TestImages.BusyboxAsync());

    [Fact]
    public async Task Nginx() => await CompareAsync(await TestImages.NginxAsync());

    private async Task CompareAsync(OciLayout image)
    {
        var cancellation = TestContext.Current.CancellationToken;
        var rootfs = Path.Combine(_directory, "rootfs.erofs");
        await BuildAsync(image, rootfs, cancellation);
        await CommandRunner.RunCheckedAsync("fsck.erofs", ["--extract", rootfs], cancellationToken: cancellation);

        var bundle = Path.Combine(_directory, "bundle");
        await CommandRunner.RunCheckedAsync("umoci", ["unpack", "--image", $"{image.Directory}:{image.Tag}", bundle], cancellationToken: cancellation);
        await using var mounted = await MountedErofs.MountAsync(rootfs, cancellation);
        Assert.Equal([], TreeComparer.Compare(Path.Combine(bundle, "rootfs"), mounted.Path));
    }

    private static async Task BuildAsync(OciLayout image, string output, CancellationToken cancellation)
    {
        var limits = new ImageLimits();
        await using var source = new OciLayoutSource(new DirectoryFiles(image.Directory), image.Tag, image.ToString(), limits);
        var manifest = await source.ResolveAsync(cancellation);
        using var file = File.OpenHandle(output, FileMode.Create, FileAccess.ReadWrite);
        await RootfsBuilder.BuildAsync(source, manifest, file, limits, durable: false, TimeProvider.System, null, cancellation);
    }
}
