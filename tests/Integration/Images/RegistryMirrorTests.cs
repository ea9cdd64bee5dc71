using Ravel.Images;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>Mirrors are asked in order, each with its own credentials; whoever can't is left for the next, and the registry is the last.</summary>
public sealed class RegistryMirrorTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-mirrors-").FullName;
    private FaultyRegistry _first = null!;
    private FaultyRegistry _second = null!;
    private FaultyRegistry _registry = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => await StartAsync(layers: 1);

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task A_mirror_that_has_the_image_is_all_that_is_asked()
    {
        Assert.Equal([_first.Host], await PullAsync());
        Assert.Equal(["/v2/hub/team/app/manifests/1"], _first.Requests.Select(request => request.Path).Where(path => path.Contains("/manifests/", StringComparison.Ordinal)));
        Assert.Empty(_second.Requests);
        Assert.Empty(_registry.Requests);
    }

    [Theory]
    [InlineData(404)]
    [InlineData(401)]
    [InlineData(403)]
    [InlineData(429)]
    [InlineData(503)]
    public async Task A_mirror_that_refuses_is_asked_once(int status)
    {
        _first.Fault = Status(status);
        Assert.Equal([_second.Host], await PullAsync());
        Assert.Single(_first.Requests);
        Assert.Empty(_registry.Requests);
    }

    [Fact]
    public async Task Mirrors_that_are_away_cost_no_retries()
    {
        await _first.DisposeAsync();
        await _second.DisposeAsync();
        Assert.Equal([_registry.Host], await PullAsync());
    }

    [Fact]
    public async Task A_mirror_without_a_layer_gives_what_it_has()
    {
        _first.Fault = (context, _) => Task.FromResult(Blob(context) && Refuse(context, 404));
        Assert.Equal([_first.Host, _second.Host], await PullAsync());
    }

    [Fact]
    public async Task A_mirror_that_breaks_off_is_left_in_the_middle_of_a_layer()
    {
        _first.Fault = async (context, _) =>
        {
            if (!Blob(context) || _first.Blob(context.Request.Path!).Length < 100_000)
                return false;
            var blob = _first.Blob(context.Request.Path!);
            var from = (int)(FaultyRegistry.RangeStart(context) ?? 0);
            context.Response.StatusCode = from == 0 ? 200 : 206;
            if (from > 0)
                context.Response.Headers.ContentRange = $"bytes {from}-{blob.Length - 1}/{blob.Length}";
            context.Response.ContentLength = blob.Length - from;
            if (from == 0)
                await context.Response.Body.WriteAsync(blob.AsMemory(0, 500_000));
            await context.Response.Body.FlushAsync();
            context.Abort();
            return true;
        };
        Assert.Equal([_first.Host, _second.Host], await PullAsync());
        Assert.Contains(_second.Requests, request => request.Range == "bytes=500000-");
    }

    [Fact]
    public async Task Layers_that_stall_at_one_mirror_all_go_on_at_the_next()
    {
        await StopAsync();
        await StartAsync(layers: 4);
        _first.Fault = async (context, _) =>
        {
            if (!Blob(context) || _first.Blob(context.Request.Path!).Length < 100_000)
                return false;
            await context.Response.Body.WriteAsync(_first.Blob(context.Request.Path!).AsMemory(0, 500_000));
            await context.Response.Body.FlushAsync();
            await Task.Delay(Timeout.Infinite, context.RequestAborted);
            return true;
        };
        Assert.Equal([_first.Host, _second.Host], await PullAsync(TimeSpan.FromSeconds(3)));
        Assert.Empty(_registry.Requests);
    }

    [Fact]
    public async Task A_mirror_that_sends_another_configuration_is_left()
    {
        _first.Fault = async (context, _) =>
        {
            if (!Blob(context) || _first.Blob(context.Request.Path!).Length > 100_000)
                return false;
            await context.Response.Body.WriteAsync("{}"u8.ToArray());
            return true;
        };
        Assert.Equal([_first.Host, _second.Host], await PullAsync());
    }

    [Fact]
    public async Task A_mirror_that_sends_nonsense_for_the_manifest_is_left()
    {
        _first.Fault = async (context, _) =>
        {
            await context.Response.Body.WriteAsync("it works!"u8.ToArray());
            return true;
        };
        Assert.Equal([_second.Host], await PullAsync());
        Assert.Empty(_registry.Requests);
    }

    [Theory]
    [InlineData(200)]
    [InlineData(900_000)]
    [InlineData(-1)]
    public async Task A_mirror_that_sends_another_layer_is_left_and_the_image_is_whole(int flippedAt)
    {
        FaultyRegistry[] mirrors = [_first, _second];
        foreach (var mirror in mirrors)
        {
            mirror.Fault = async (context, _) =>
            {
                if (!Blob(context) || mirror.Blob(context.Request.Path!).Length < 100_000)
                    return false;
                var blob = mirror.Blob(context.Request.Path!);
                if (flippedAt >= 0)
                    blob[flippedAt] ^= 1;
                await context.Response.Body.WriteAsync(flippedAt < 0 ? [.. blob, 0] : blob);
                return true;
            };
        }
        Assert.Equal([_first.Host, _second.Host, _registry.Host], await PullAsync());
        using var store = await ImageStore.OpenAsync(
            new ImageStoreOptions { DataDirectory = Path.Combine(_directory, "data") }, TimeProvider.System, Cancellation);
        var mended = await File.ReadAllBytesAsync(Assert.Single(store.List()).RootfsPath, Cancellation);
        foreach (var mirror in mirrors)
            mirror.Fault = (_, _) => Task.FromResult(false);
        await store.PruneAsync(all: true, dryRun: false, Cancellation);
        store.Dispose();
        Assert.Equal([_first.Host], await PullAsync());
        using var again = await ImageStore.OpenAsync(
            new ImageStoreOptions { DataDirectory = Path.Combine(_directory, "data") }, TimeProvider.System, Cancellation);
        Assert.Equal(await File.ReadAllBytesAsync(Assert.Single(again.List()).RootfsPath, Cancellation), mended);
    }

    [Fact]
    public async Task When_all_fail_the_message_has_what_each_said_and_the_code_is_the_registrys()
    {
        _first.Fault = Status(503);
        _second.Fault = Status(403);
        _registry.Fault = Status(404);
        var error = await Assert.ThrowsAsync<ImageException>(() => PullAsync());
        Assert.Equal("image-not-found", error.Code);
        Assert.Contains($"{_registry.Host} has no {_registry.Host}/team/app:1", error.Message);
        Assert.Contains($"{_first.Host} did not give", error.Message);
        Assert.Contains("503", error.Message);
        Assert.Contains($"{_second.Host} refuses", error.Message);
    }

    [Fact]
    public async Task Each_place_gets_its_own_credentials()
    {
        foreach (var place in (FaultyRegistry[])[_first, _second, _registry])
        {
            place.Fault = (context, _) =>
            {
                context.Response.Headers.WWWAuthenticate = "Basic";
                // The registry lets in whoever has a password; its mirrors, nobody.
                return Task.FromResult((place != _registry || context.Request.Headers.Authorization.Count == 0) && Refuse(context, 401));
            };
        }
        Assert.Equal([_registry.Host], await PullAsync());
        Assert.Equal([null, Basic("first")], _first.Requests.Select(request => request.Authorization));
        Assert.Equal([null], _second.Requests.Select(request => request.Authorization));
        Assert.All(_registry.Requests.Skip(1), request => Assert.Equal(Basic("registry"), request.Authorization));
    }

    private async Task StartAsync(int layers)
    {
        var builder = new LayoutBuilder(Directory.CreateDirectory(Path.Combine(_directory, $"layout-{layers}")).FullName);
        for (var i = 0; i < layers; i++)
        {
            var noise = new byte[1_000_000];
            new Random(i + 3).NextBytes(noise);
            builder.Layer(new TarBuilder().Entry('0', TarBuilder.Latin1($"noise{i}"), content: noise).ToArray());
        }
        var layout = builder.Build();
        _first = await FaultyRegistry.StartAsync(layout);
        _second = await FaultyRegistry.StartAsync(layout);
        _registry = await FaultyRegistry.StartAsync(layout);
    }

    private async Task StopAsync()
    {
        await _first.DisposeAsync();
        await _second.DisposeAsync();
        await _registry.DisposeAsync();
    }

    private static string Basic(string user) => $"Basic {Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"{user}:p"))}";

    private static bool Blob(Microsoft.AspNetCore.Http.HttpContext context) => context.Request.Path.Value!.Contains("/blobs/", StringComparison.Ordinal);

    private static Func<Microsoft.AspNetCore.Http.HttpContext, int, Task<bool>> Status(int status) => (context, _) => Task.FromResult(Refuse(context, status));

    private static bool Refuse(Microsoft.AspNetCore.Http.HttpContext context, int status)
    {
        context.Response.StatusCode = status;
        return true;
    }

    /// <returns>Who gave the image, in order.</returns>
    private async Task<List<string>> PullAsync(TimeSpan? stallTimeout = null)
    {
        var config = Path.Combine(_directory, "config.json");
        await File.WriteAllTextAsync(
            config,
            $$"""{ "auths": { "{{_first.Host}}": { "username": "first", "password": "p" }, "{{_registry.Host}}": { "username": "registry", "password": "p" } } }""",
            Cancellation);
        var settings = Path.Combine(_directory, "registries.json");
        await File.WriteAllTextAsync(
            settings,
            $$"""{ "registries": { "{{_registry.Host}}": { "mirrors": [ "{{_first.Host}}/hub", "{{_second.Host}}" ] } }, "docker_config": "{{config}}" }""",
            Cancellation);
        using var store = await ImageStore.OpenAsync(
            new ImageStoreOptions
            {
                DataDirectory = Directory.CreateDirectory(Path.Combine(_directory, "data")).FullName,
                // A second pause would be seen: the mirrors of these tests are left without one.
                Registry = RegistryFile.Load(settings) with
                {
                    FirstRetryDelay = TimeSpan.FromMilliseconds(1), MaxRetryDelay = TimeSpan.FromMilliseconds(10),
                    StallTimeout = stallTimeout ?? new RegistryOptions().StallTimeout,
                },
            },
            TimeProvider.System, Cancellation);
        var givers = new Givers();
        await store.EnsureAsync($"{_registry.Host}/team/app:1", PullPolicy.Missing, givers, Cancellation);
        return [.. givers.All];
    }

    private sealed class Givers : IProgress<ImageProgress>
    {
        public System.Collections.Concurrent.ConcurrentQueue<string> All { get; } = new();

        public void Report(ImageProgress value)
        {
            if (value.Registry is { } registry)
                All.Enqueue(registry);
        }
    }
}
