using Ravel.Images;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>The store against a real registry and real archives.</summary>
public sealed class ImageStoreTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-store-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task A_pulled_image_is_found_again_without_network_and_after_a_restart()
    {
        await using var registry = await RegistryFixture.StartAsync(cancellationToken: Cancellation);
        var reference = await registry.PushAsync(await TestImages.NginxAsync(Cancellation), "web/nginx:1", Cancellation);
        StoredImage pulled;
        using (var store = await OpenAsync())
        {
            pulled = await store.EnsureAsync(reference, PullPolicy.Missing, null, Cancellation);
            await registry.StopAsync();
            var again = await store.EnsureAsync(reference, PullPolicy.Missing, null, Cancellation);
            Assert.Equivalent(pulled with { LastUsedAt = again.LastUsedAt }, again);
        }

        using var reopened = await OpenAsync();
        var found = await reopened.EnsureAsync(reference, PullPolicy.Never, null, Cancellation);
        Assert.Equivalent(pulled with { LastUsedAt = found.LastUsedAt }, found);
        Assert.Equal([reference], found.References);
        Assert.Equal(["nginx"], found.Config.Entrypoint);
        Assert.Equal(["-g", "daemon off;"], found.Config.Cmd);
        Assert.Equal(["80/tcp"], found.Config.ExposedPorts);
        Assert.Equal("SIGQUIT", found.Config.StopSignal);
        Assert.Equal(found.RootfsBytes, new FileInfo(found.RootfsPath).Length);
        await CommandRunner.RunCheckedAsync("fsck.erofs", ["--extract", found.RootfsPath], cancellationToken: Cancellation);
    }

    [Fact]
    public async Task Many_requests_at_once_share_one_download_and_one_build()
    {
        await using var registry = await RegistryFixture.StartAsync(cancellationToken: Cancellation);
        var reference = await registry.PushAsync(await TestImages.NginxAsync(Cancellation), "nginx:1", Cancellation);
        using var store = await OpenAsync();
        var received = new CountingProgress();

        var images = await Task.WhenAll(Enumerable.Range(0, 50).Select(
            i => store.EnsureAsync(reference, PullPolicy.Missing, i == 0 ? received : null, Cancellation)));

        Assert.Single(images.Select(image => image.RootfsPath).Distinct());
        Assert.Single(store.List());
        Assert.Equal(1, received.Resolves);
    }

    [Fact]
    public async Task A_password_from_dockers_configuration_opens_a_registry()
    {
        await using var registry = await RegistryFixture.StartAsync(password: true, cancellationToken: Cancellation);
        var reference = await registry.PushAsync(await TestImages.BusyboxAsync(Cancellation), "busybox:1", Cancellation);
        var config = Path.Combine(_directory, "config.json");
        var auth = Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"{RegistryFixture.UserName}:{RegistryFixture.Password}"));
        await File.WriteAllTextAsync(config, $$"""{ "auths": { "{{registry.Host}}": { "auth": "{{auth}}" } } }""", Cancellation);

        using (var store = await OpenAsync(new RegistryOptions { DockerConfigFile = Path.Combine(_directory, "none.json") }))
        {
            var refused = await Assert.ThrowsAsync<ImageException>(() => store.EnsureAsync(reference, PullPolicy.Missing, null, Cancellation));
            Assert.Equal("registry-unauthorized", refused.Code);
        }
        using (var store = await OpenAsync(new RegistryOptions { DockerConfigFile = config }))
            Assert.NotEmpty((await store.EnsureAsync(reference, PullPolicy.Missing, null, Cancellation)).References);
    }

    [Fact]
    public async Task An_image_that_is_not_there_is_named_in_the_error()
    {
        await using var registry = await RegistryFixture.StartAsync(cancellationToken: Cancellation);
        using var store = await OpenAsync();
        var missing = await Assert.ThrowsAsync<ImageException>(
            () => store.EnsureAsync($"{registry.Host}/nothing:1", PullPolicy.Missing, null, Cancellation));
        Assert.Equal("image-not-found", missing.Code);
        Assert.Contains("nothing:1", missing.Message);
    }

    [Fact]
    public async Task Layouts_and_archives_give_the_same_rootfs_bytes_as_the_registry()
    {
        await using var registry = await RegistryFixture.StartAsync(cancellationToken: Cancellation);
        var layout = await TestImages.BusyboxAsync(Cancellation);
        var reference = await registry.PushAsync(layout, "busybox:1", Cancellation);
        var ociArchive = Path.Combine(_directory, "busybox.oci.tar");
        var dockerArchive = Path.Combine(_directory, "busybox.docker.tar");
        await SkopeoAsync($"oci:{layout.Directory}:{layout.Tag}", $"oci-archive:{ociArchive}:latest");
        await SkopeoAsync($"oci:{layout.Directory}:{layout.Tag}", $"docker-archive:{dockerArchive}:example.org/busybox:2");

        using var store = await OpenAsync();
        var pulled = await store.EnsureAsync(reference, PullPolicy.Missing, null, Cancellation);
        var imported = await store.ImportAsync(ociArchive, "archived/busybox", Cancellation);
        Assert.Equal(pulled.ManifestDigest, imported.ManifestDigest);
        Assert.Contains("docker.io/archived/busybox:latest", imported.References);
        Assert.Equal(pulled.ManifestDigest, (await store.ImportAsync(layout.Directory, "laid/out:3", Cancellation)).ManifestDigest);

        // An archive of docker save has no manifest, so the image has another digest, and with it another file system id.
        var fromDocker = await store.ImportAsync(dockerArchive, null, Cancellation);
        Assert.Equal(["example.org/busybox:2"], fromDocker.References);
        await using var left = await MountedErofs.MountAsync(pulled.RootfsPath, Cancellation);
        await using var right = await MountedErofs.MountAsync(fromDocker.RootfsPath, Cancellation);
        Assert.Equal([], TreeComparer.Compare(left.Path, right.Path));
    }

    [Fact]
    public async Task Removing_takes_names_first_and_spares_what_is_in_use()
    {
        var layout = await TestImages.BusyboxAsync(Cancellation);
        using var store = await OpenAsync();
        var image = await store.ImportAsync(layout.Directory, "one", Cancellation);
        await store.ImportAsync(layout.Directory, "two", Cancellation);

        Assert.Equal(["docker.io/library/two:latest"], await store.RemoveAsync("two", Cancellation));
        using (store.Lease(image.ManifestDigest))
        {
            var refused = await Assert.ThrowsAsync<ImageException>(() => store.RemoveAsync("one", Cancellation));
            Assert.Equal("image-in-use", refused.Code);
            Assert.True(File.Exists(image.RootfsPath));
        }
        Assert.Equal(["docker.io/library/one:latest", image.ManifestDigest], await store.RemoveAsync(image.ManifestDigest[..19], Cancellation));
        Assert.False(File.Exists(image.RootfsPath));
        Assert.Empty(store.List());
    }

    [Fact]
    public async Task The_command_builds_the_same_bytes_twice_and_says_their_digest()
    {
        var layout = await TestImages.BusyboxAsync(Cancellation);
        var (first, second) = (Path.Combine(_directory, "1.erofs"), Path.Combine(_directory, "2.erofs"));
        var output = new StringWriter();
        var error = new StringWriter();
        Assert.Equal(0, await RootfsBuildCommand.RunAsync(["--image", $"{layout}", "--output", first], output, error, Cancellation));
        Assert.Equal(0, await RootfsBuildCommand.RunAsync(["--image", $"{layout}", "--output", second], output, error, Cancellation));

        Assert.Equal(await File.ReadAllBytesAsync(first, Cancellation), await File.ReadAllBytesAsync(second, Cancellation));
        Assert.Matches("^sha256:[0-9a-f]{64} [0-9]+\n", output.ToString());
        Assert.Equal(["1.erofs", "2.erofs"], Directory.GetFiles(_directory).Select(Path.GetFileName).Order());
    }

    private Task<ImageStore> OpenAsync(RegistryOptions? registry = null) =>
        ImageStore.OpenAsync(
            new ImageStoreOptions { DataDirectory = Path.Combine(_directory, "data"), Registry = registry ?? new RegistryOptions() },
            TimeProvider.System, Cancellation);

    private static Task SkopeoAsync(string from, string to) =>
        CommandRunner.RunCheckedAsync(
            "skopeo", ["copy", "--quiet", "--insecure-policy", from, to], timeout: TimeSpan.FromMinutes(1), cancellationToken: Cancellation);

    private sealed class CountingProgress : IProgress<ImageProgress>
    {
        private int _resolves;

        public int Resolves => _resolves;

        public void Report(ImageProgress value)
        {
            if (value.Phase == "resolve")
                Interlocked.Increment(ref _resolves);
        }
    }
}
