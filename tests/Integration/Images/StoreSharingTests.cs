using System.Collections.Concurrent;
using Ravel.Images;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>Many who want one image, many images at once, and what they cost at the registry and on disk.</summary>
public sealed class StoreSharingTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-sharing-").FullName;
    private readonly ConcurrentQueue<string> _steps = new();
    private FaultyRegistry _registry = null!;
    private ImageStore _store = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string Reference => $"{_registry.Host}/app:1";

    private int Builds => _steps.Count(step => step == "build: create rootfs");

    public async ValueTask InitializeAsync()
    {
        _registry = await FaultyRegistry.StartAsync(Layout("app"));
        _store = await OpenAsync();
    }

    public async ValueTask DisposeAsync()
    {
        _store.Dispose();
        await _registry.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task Fifty_at_once_are_one_download_and_one_build()
    {
        var leases = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => AcquireAsync()));

        Assert.Equal((1, 1), (_registry.Count("/manifests/"), Builds));
        // The configuration and the layer, each once.
        Assert.Equal(2, _registry.Count("/blobs/"));
        Assert.Single(leases.Select(lease => lease.Image.RootfsPath).Distinct());
        Assert.All(leases, lease => Assert.Equal([Reference], lease.Image.References));
        foreach (var lease in leases)
        {
            Assert.Equal("image-in-use", (await Assert.ThrowsAsync<ImageException>(() => _store.RemoveAsync(Reference, Cancellation))).Code);
            lease.Dispose();
        }
        await _store.RemoveAsync(Reference, Cancellation);
    }

    [Fact]
    public async Task Those_who_leave_do_not_disturb_those_who_stay()
    {
        var (arrived, go) = HoldLayers();
        using var impatience = new CancellationTokenSource();
        var leaving = Enumerable.Range(0, 20).Select(_ => AcquireAsync(impatience.Token)).ToList();
        var staying = Enumerable.Range(0, 20).Select(_ => AcquireAsync()).ToList();
        await arrived;
        await impatience.CancelAsync();
        foreach (var gone in leaving)
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => gone);
        go();
        await Task.WhenAll(staying);
        Assert.Equal((1, 1), (_registry.Count("/manifests/"), Builds));
    }

    [Fact]
    public async Task When_all_have_left_the_next_starts_afresh()
    {
        var (arrived, go) = HoldLayers();
        using var impatience = new CancellationTokenSource();
        var leaving = Enumerable.Range(0, 20).Select(_ => AcquireAsync(impatience.Token)).ToList();
        await arrived;
        await impatience.CancelAsync();
        foreach (var gone in leaving)
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => gone);
        go();
        (await AcquireAsync()).Dispose();
        Assert.Equal(2, Builds);
        Assert.Single(_store.List());
    }

    [Fact]
    public async Task A_failure_is_shared_and_not_kept()
    {
        var arrived = new TaskCompletionSource();
        var answer = new TaskCompletionSource();
        _registry.Fault = async (http, before) =>
        {
            if (!http.Request.Path.Value!.Contains("/manifests/") || before > 0)
                return false;
            arrived.SetResult();
            await answer.Task;
            http.Response.StatusCode = 404;
            return true;
        };
        var asked = Enumerable.Range(0, 50).Select(_ => AcquireAsync()).ToList();
        await arrived.Task;
        answer.SetResult();
        foreach (var failed in asked)
            Assert.Equal("image-not-found", (await Assert.ThrowsAsync<ImageException>(() => failed)).Code);
        Assert.Equal(1, _registry.Count("/manifests/"));
        using var lease = await AcquireAsync();
        Assert.Equal(2, _registry.Count("/manifests/"));
    }

    [Fact]
    public async Task With_everything_there_missing_and_never_ask_nobody_and_always_builds_nothing()
    {
        Assert.Equal("image-not-found", (await Assert.ThrowsAsync<ImageException>(() => AcquireAsync(policy: PullPolicy.Never))).Code);
        Assert.Empty(_registry.Requests);
        var first = await _store.EnsureAsync(Reference, PullPolicy.Missing, null, Cancellation);
        var asked = _registry.Requests.Count;
        await _store.EnsureAsync(Reference, PullPolicy.Missing, null, Cancellation);
        await _store.EnsureAsync(Reference, PullPolicy.Never, null, Cancellation);
        await _store.EnsureAsync(first.ManifestDigest, PullPolicy.Always, null, Cancellation);
        Assert.Equal(asked, _registry.Requests.Count);

        var layers = LayerRequests();
        var again = await _store.EnsureAsync(Reference, PullPolicy.Always, null, Cancellation);
        Assert.Equal((first.ManifestDigest, first.CreatedAt), (again.ManifestDigest, again.CreatedAt));
        Assert.True(_registry.Requests.Count > asked);
        Assert.Equal((1, layers), (Builds, LayerRequests()));

        int LayerRequests() => _registry.Count(first.Layers[0].Digest);
    }

    [Fact]
    public async Task Different_images_build_a_few_at_a_time()
    {
        _store.Dispose();
        var (now, most) = (0, 0);
        var turn = new Lock();
        using var second = new ManualResetEventSlim();
        _store = await OpenAsync(options => options with
        {
            MaxBuildsAtOnce = 2,
            AtStep = step =>
            {
                lock (turn)
                {
                    now += step switch { "build: create directory" => 1, "publish: rename" => -1, _ => 0 };
                    most = Math.Max(most, now);
                    if (now == 2)
                        second.Set();
                }
                // Whoever builds first stays until another builds beside it; alone it fails here.
                if (step == "build: create directory" && !second.Wait(TimeSpan.FromSeconds(30), Cancellation))
                    throw new InvalidOperationException("nothing else was built within 30 s");
            },
        });
        var layouts = Enumerable.Range(0, 8).Select(i => Layout($"many-{i}")).ToList();
        await Task.WhenAll(layouts.Select((layout, i) => _store.ImportAsync(layout.Directory, $"many:{i}", Cancellation)));
        Assert.Equal(8, _store.List().Count);
        Assert.Equal(2, most);
    }

    [Fact]
    public async Task Over_the_limit_the_least_recently_used_goes_and_nothing_that_is_used_or_kept_or_pulled()
    {
        _store.Dispose();
        await using var second = await FaultyRegistry.StartAsync(Layout("second"));
        await using var third = await FaultyRegistry.StartAsync(Layout("third"));
        var kept = new HashSet<string>();
        _store = await OpenAsync(options => options with { MaxBytes = 1 });
        _store.KeepFor(() => kept);

        // Over the limit by itself, and there all the same for who asked for it.
        var first = await AcquireAsync();
        await _store.EnsureAsync($"{second.Host}/b:1", PullPolicy.Missing, null, Cancellation);
        await _store.EnsureAsync($"{third.Host}/c:1", PullPolicy.Missing, null, Cancellation);
        Assert.Equal([Reference, $"{third.Host}/c:1"], _store.List().SelectMany(image => image.References));
        Assert.True(File.Exists(first.Image.RootfsPath));

        // At rest: no lease, but a disk that fits no other image.
        kept.Add(first.Image.ManifestDigest);
        first.Dispose();
        Assert.Single(await _store.CollectAsync(Cancellation));
        Assert.Equal([Reference], _store.List().SelectMany(image => image.References));
        Assert.Equal("image-in-use", (await Assert.ThrowsAsync<ImageException>(() => _store.RemoveAsync(Reference, Cancellation))).Code);
        kept.Clear();
        Assert.Single(await _store.CollectAsync(Cancellation));
        Assert.False(File.Exists(first.Image.RootfsPath));
    }

    [Fact]
    public async Task Between_a_pull_and_its_use_no_collection_gets_in()
    {
        _store.Dispose();
        _store = await OpenAsync(options => options with { MaxBytes = 1 });
        var collections = 0;
        using var stop = new CancellationTokenSource();
        var collecting = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                await _store.CollectAsync(CancellationToken.None);
                await _store.PruneAsync(all: true, dryRun: false, CancellationToken.None);
                collections++;
            }
        }, CancellationToken.None);
        try
        {
            await Task.WhenAll(Enumerable.Range(0, 4).Select(async _ =>
            {
                for (var i = 0; i < 25; i++)
                {
                    using var lease = await AcquireAsync();
                    Assert.Equal(lease.Image.RootfsBytes, new FileInfo(lease.Image.RootfsPath).Length);
                }
            }));
        }
        finally
        {
            await stop.CancelAsync();
            await collecting;
        }
        Assert.True(collections > 0);
    }

    [Fact]
    public async Task What_was_used_last_is_known_after_a_restart()
    {
        var image = await _store.EnsureAsync(Reference, PullPolicy.Missing, null, Cancellation);
        var before = _store.Find(image.ManifestDigest)!.LastUsedAt;
        _store.Dispose();
        _store = await OpenAsync();
        Assert.Equal(before, _store.Find(image.ManifestDigest)!.LastUsedAt, TimeSpan.FromMicroseconds(1));
    }

    [Fact]
    public async Task Damage_is_found_remembered_and_mended_by_the_next_pull()
    {
        var image = await _store.EnsureAsync(Reference, PullPolicy.Missing, null, Cancellation);
        using (var file = File.OpenHandle(image.RootfsPath, FileMode.Open, FileAccess.ReadWrite))
            RandomAccess.Write(file, "X"u8, image.RootfsBytes / 2);
        Assert.Contains("instead of", Assert.Single(await VerifyAsync()).Damage);
        Assert.Equal("image-damaged", (await Assert.ThrowsAsync<ImageException>(() => AcquireAsync(policy: PullPolicy.Never))).Code);
        _store.Dispose();
        _store = await OpenAsync();
        Assert.True(_store.Find(Reference)!.IsDamaged);

        // What runs from the damaged file keeps it.
        using var running = File.OpenHandle(image.RootfsPath);
        using var mended = await AcquireAsync();
        Assert.Equal(image.RootfsDigest, mended.Image.RootfsDigest);
        Assert.Null(Assert.Single(await VerifyAsync()).Damage);
        Assert.Equal(2, Builds);
    }

    [Fact]
    public async Task Prune_takes_what_has_no_name_and_with_all_what_is_unused()
    {
        var old = await _store.ImportAsync(Layout("old").Directory, "moved", Cancellation);
        await _store.ImportAsync(Layout("new").Directory, "moved", Cancellation);
        Assert.Equal([old.ManifestDigest], Digests(await _store.PruneAsync(all: false, dryRun: true, Cancellation)));
        Assert.Equal(2, _store.List().Count);
        Assert.Equal([old.ManifestDigest], Digests(await _store.PruneAsync(all: false, dryRun: false, Cancellation)));
        Assert.Empty(await _store.PruneAsync(all: false, dryRun: false, Cancellation));
        using (await _store.AcquireAsync("moved", PullPolicy.Never, null, Cancellation))
            Assert.Empty(await _store.PruneAsync(all: true, dryRun: false, Cancellation));
        Assert.Single(await _store.PruneAsync(all: true, dryRun: false, Cancellation));
        Assert.Null(_store.Find("moved"));

        static IEnumerable<string> Digests(IEnumerable<StoredImage> images) => images.Select(image => image.ManifestDigest);
    }

    private Task<ImageLease> AcquireAsync(CancellationToken? cancellation = null, PullPolicy policy = PullPolicy.Missing) =>
        _store.AcquireAsync(Reference, policy, null, cancellation ?? Cancellation);

    private async Task<List<ImageVerification>> VerifyAsync()
    {
        var found = new List<ImageVerification>();
        await foreach (var one in _store.VerifyAsync(null, Cancellation))
            found.Add(one);
        return found;
    }

    /// <summary>Has the first request for a layer wait; the configuration came before it.</summary>
    private (Task Arrived, Action Go) HoldLayers()
    {
        var arrived = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var go = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _registry.Fault = async (http, _) =>
        {
            if (http.Request.Path.Value!.Contains("/blobs/") && _registry.Count("/blobs/") > 1)
            {
                arrived.TrySetResult();
                await go.Task;
            }
            return false;
        };
        return (arrived.Task, () => go.TrySetResult());
    }

    private OciLayout Layout(string name) =>
        new LayoutBuilder(Directory.CreateDirectory(Path.Combine(_directory, name)).FullName)
            .Layer(new TarBuilder().File("hello", name).ToArray())
            .Build();

    private Task<ImageStore> OpenAsync(Func<ImageStoreOptions, ImageStoreOptions>? change = null)
    {
        var options = new ImageStoreOptions { DataDirectory = Path.Combine(_directory, "data"), AtStep = _steps.Enqueue };
        return ImageStore.OpenAsync(change?.Invoke(options) ?? options, TimeProvider.System, Cancellation);
    }
}
