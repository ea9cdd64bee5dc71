using Ravel.Images;
using Ravel.Images.Archives;
using Ravel.Images.Build;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>The kernel's view of our rootfs against <c>umoci unpack</c> of the same image.</summary>
public sealed class RootfsEqualsUmociTests : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-rootfs-").FullName;

    public async ValueTask DisposeAsync() => await ImageRecipe.DeleteAsync(_directory);

    [Fact]
    public async Task Busybox() => await CompareAsync(await TestImages.BusyboxAsync());

    [Fact]
    public async Task Nginx() => await CompareAsync(await TestImages.NginxAsync());

    [Fact]
    public async Task Many_layers_with_replaced_files_and_whiteouts() => await CompareAsync(await LargeImages.ManyLayers.BuildAsync());

    [Fact]
    public async Task Capabilities_acls_owners_links_and_devices()
    {
        var recipe = new ImageRecipe(
            "attributes",
            Revision: 1,
            ["busybox-static"],
            async (root, cancellation) => await CommandRunner.RunCheckedAsync(
                "/bin/sh",
                [
                    "-ec",
                    """
                    cd "$1"
                    mkdir -p a/b dev 'sp ace'
                    cp bin/busybox a/capable && setcap cap_net_bind_service=ep a/capable
                    echo text > a/listed && setfacl -m u:1000:rw,g:50:r a/listed && setfacl -d -m u:1000:rwx a/b
                    echo x > a/owned && chown 1234567:76543 a/owned && chmod 6755 a/owned && chmod 1777 a/b
                    setfattr -n user.note -v hello a/owned; setfattr -n trusted.note -v there a/owned
                    ln a/owned a/linked; ln a/owned 'sp ace/linked'; ln -s ../a/owned a/b/symbolic; ln a/b/symbolic a/b/both
                    mknod dev/null c 1 3; mknod dev/disk b 259 1234; mkfifo a/pipe
                    : > a/empty; touch -d '1969-12-31 23:59:58.5 UTC' a/old; touch -d '2100-01-01 00:00:00.123456789 UTC' a/new
                    truncate -s 5M a/sparse; printf end >> a/sparse
                    printf x > "$(printf 'a/\377\376')"
                    i=0; while [ $i -lt 3000 ]; do : > a/b/file-with-a-name-$i; i=$((i+1)); done
                    """,
                    "sh", root,
                ],
                timeout: TimeSpan.FromMinutes(1), cancellationToken: cancellation),
            ["--config.cmd", "sh"],
            async (image, scratch, cancellation) =>
            {
                var name = $"{image.Directory}:{image.Tag}";
                await File.WriteAllTextAsync(Path.Combine(scratch, "new"), "new", cancellation);
                foreach (var arguments in (string[][])
                    [
                        ["--opaque", scratch, "/a/b"], [Path.Combine(scratch, "new"), "/a/listed"], ["--whiteout", "/a/linked"],
                        [scratch, "/sp ace"], ["--whiteout", "/dev"],
                    ])
                {
                    await CommandRunner.RunCheckedAsync("umoci", ["insert", "--image", name, .. arguments], cancellationToken: cancellation);
                }
            });
        await CompareAsync(await recipe.BuildAsync());
    }

    [Fact]
    public async Task Zstd_layers_give_the_tree_of_gzip_layers()
    {
        var cancellation = TestContext.Current.CancellationToken;
        var image = await TestImages.NginxAsync(cancellation);
        var zstd = new OciLayout(Path.Combine(_directory, "zstd"));
        await CommandRunner.RunCheckedAsync(
            "skopeo", ["copy", "--quiet", "--insecure-policy", "--dest-compress-format", "zstd", $"{image}", $"{zstd}"], cancellationToken: cancellation);
        var (left, right) = (Path.Combine(_directory, "gzip.erofs"), Path.Combine(_directory, "zstd.erofs"));
        await BuildAsync(image, left, cancellation);
        await BuildAsync(zstd, right, cancellation);
        await using var a = await MountedErofs.MountAsync(left, cancellation);
        await using var b = await MountedErofs.MountAsync(right, cancellation);
        Assert.Equal([], TreeComparer.Compare(a.Path, b.Path));
    }

    private async Task CompareAsync(OciLayout image)
    {
        var cancellation = TestContext.Current.CancellationToken;
        var rootfs = Path.Combine(_directory, "rootfs.erofs");
        await BuildAsync(image, rootfs, cancellation);
        await CommandRunner.RunCheckedAsync("fsck.erofs", ["--extract", rootfs], timeout: TimeSpan.FromMinutes(3), cancellationToken: cancellation);

        var bundle = Path.Combine(_directory, "bundle");
        await CommandRunner.RunCheckedAsync("umoci", ["unpack", "--image", $"{image.Directory}:{image.Tag}", bundle], timeout: TimeSpan.FromMinutes(3), cancellationToken: cancellation);
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
