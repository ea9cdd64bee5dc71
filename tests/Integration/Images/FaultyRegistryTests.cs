using System.Net.Sockets;
using Microsoft.AspNetCore.Http;
using Ravel.Images;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>Registries that are slow, broken or lying: each fault is healed or named, and nothing of it stays in the store.</summary>
public sealed class FaultyRegistryTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-faults-").FullName;
    private FaultyRegistry _registry = null!;
    private ImageStore _store = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string Reference => $"{_registry.Host}/app:1";

    public async ValueTask InitializeAsync()
    {
        _registry = await FaultyRegistry.StartAsync(await TestImages.BusyboxAsync(Cancellation));
        _store = await ImageStore.OpenAsync(
            new ImageStoreOptions
            {
                DataDirectory = _directory,
                Registry = new RegistryOptions
                {
                    FirstRetryDelay = TimeSpan.FromMilliseconds(1),
                    MaxRetryDelay = TimeSpan.FromMilliseconds(10),
                    StallTimeout = TimeSpan.FromSeconds(2),
                    DockerConfigFile = Path.Combine(_directory, "config.json"),
                },
            },
            TimeProvider.System, Cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        _store.Dispose();
        await _registry.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task Requests_at_once_reach_the_registry_as_one()
    {
        await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => PullAsync()));
        Assert.Equal(1, _registry.Count("/manifests/"));
        Assert.Equal(2, _registry.Count("/blobs/"));
    }

    [Fact]
    public async Task A_busy_registry_is_asked_again()
    {
        _registry.Fault = (context, before) => Answer(context, before < 3, before == 0 ? 503 : before == 1 ? 429 : 500);
        await PullAsync();
    }

    [Fact]
    public async Task A_registry_that_stays_busy_is_given_up_by_name()
    {
        _registry.Fault = (context, _) => Answer(context, true, 503);
        await FailsAsync("image-pull-failed", "503");
        Assert.Equal(5, _registry.Requests.Count);
    }

    [Fact]
    public async Task A_transfer_that_breaks_goes_on_where_it_stopped()
    {
        _registry.Fault = async (context, _) =>
        {
            if (!IsLayer(context))
                return false;
            var blob = _registry.Blob(context.Request.Path!);
            // Without a range when the break swallowed all that was sent before it.
            var range = context.Request.Headers.Range.ToString();
            var from = range.Length == 0 ? 0 : int.Parse(range["bytes=".Length..^1]);
            context.Response.StatusCode = from == 0 ? 200 : 206;
            context.Response.ContentLength = blob.Length - from;
            if (from > 0)
                context.Response.Headers.ContentRange = $"bytes {from}-{blob.Length - 1}/{blob.Length}";
            var part = Math.Min(400_000, blob.Length - from);
            await context.Response.Body.WriteAsync(blob.AsMemory(from, part));
            await context.Response.Body.FlushAsync();
            if (from + part < blob.Length)
                context.Abort();
            return true;
        };
        await PullAsync();
        Assert.Contains(_registry.Requests, request => request.Range is not null);
    }

    [Fact]
    public async Task A_registry_that_knows_no_ranges_is_read_from_the_start_again()
    {
        _registry.Fault = async (context, before) =>
        {
            if (!IsLayer(context) || before > 0)
                return false;
            context.Response.ContentLength = _registry.Blob(context.Request.Path!).Length;
            await context.Response.Body.WriteAsync(_registry.Blob(context.Request.Path!).AsMemory(0, 600_000));
            await context.Response.Body.FlushAsync();
            context.Abort();
            return true;
        };
        await PullAsync();
    }

    [Fact]
    public async Task A_layer_with_a_flipped_bit_is_refused()
    {
        _registry.Fault = async (context, _) =>
        {
            if (!IsLayer(context))
                return false;
            var blob = _registry.Blob(context.Request.Path!);
            blob[^9] ^= 1;
            await context.Response.Body.WriteAsync(blob);
            return true;
        };
        await FailsAsync("image-invalid", "layer sha256:");
    }

    [Fact]
    public async Task A_layer_longer_than_its_manifest_says_is_refused()
    {
        _registry.Fault = async (context, _) =>
        {
            if (!IsLayer(context))
                return false;
            await context.Response.Body.WriteAsync(_registry.Blob(context.Request.Path!));
            await context.Response.Body.WriteAsync(new byte[1_000_000]);
            return true;
        };
        await FailsAsync("image-invalid", "longer");
    }

    [Fact]
    public async Task A_manifest_without_end_is_refused()
    {
        _registry.Fault = async (context, _) =>
        {
            if (!context.Request.Path.Value!.Contains("/manifests/", StringComparison.Ordinal))
                return false;
            for (var i = 0; i < 100 && !context.RequestAborted.IsCancellationRequested; i++)
                await context.Response.Body.WriteAsync(new byte[100_000]);
            return true;
        };
        await FailsAsync("image-invalid", "longer");
    }

    [Fact]
    public async Task A_manifest_that_is_not_what_was_asked_for_is_refused()
    {
        var error = await Assert.ThrowsAsync<ImageException>(() => _store.EnsureAsync(
            $"{_registry.Host}/app@sha256:{new string('a', 64)}", PullPolicy.Missing, null, Cancellation));
        Assert.NotEqual("", error.Message);
        _registry.Fault = async (context, _) =>
        {
            await context.Response.WriteAsync("{}");
            return true;
        };
        error = await Assert.ThrowsAsync<ImageException>(() => _store.EnsureAsync(
            $"{_registry.Host}/app@sha256:{new string('b', 64)}", PullPolicy.Missing, null, Cancellation));
        Assert.Equal("image-invalid", error.Code);
    }

    [Fact]
    public async Task An_index_of_indexes_without_end_is_refused()
    {
        _registry.Fault = async (context, _) =>
        {
            var digest = $"sha256:{new string('c', 64)}";
            context.Response.ContentType = "application/vnd.oci.image.index.v1+json";
            await context.Response.WriteAsync(
                $$"""{ "manifests": [ { "mediaType": "application/vnd.oci.image.index.v1+json", "digest": "{{digest}}", "size": 300 } ] }""");
            return true;
        };
        await FailsAsync("image-invalid", "");
    }

    [Fact]
    public async Task A_registry_that_stalls_is_given_up()
    {
        _registry.Fault = async (context, _) =>
        {
            if (!IsLayer(context))
                return false;
            context.Response.ContentLength = _registry.Blob(context.Request.Path!).Length;
            await context.Response.Body.WriteAsync(new byte[100]);
            await context.Response.Body.FlushAsync();
            await Task.Delay(Timeout.Infinite, context.RequestAborted).ContinueWith(_ => { }, TaskScheduler.Default);
            return true;
        };
        await FailsAsync("image-pull-failed", "64 KiB");
    }

    [Fact]
    public async Task Redirects_that_never_end_are_refused()
    {
        _registry.Fault = (context, _) =>
        {
            context.Response.Redirect(context.Request.Path);
            return Task.FromResult(true);
        };
        await FailsAsync("image-pull-failed", "redirects");
    }

    [Fact]
    public async Task A_redirect_to_another_host_gets_no_credentials()
    {
        await using var storage = await FaultyRegistry.StartAsync(await TestImages.BusyboxAsync(Cancellation));
        await LogInAsync();
        _registry.Fault = (context, _) =>
        {
            if (context.Request.Headers.Authorization.Count == 0)
            {
                context.Response.StatusCode = 401;
                context.Response.Headers.WWWAuthenticate = "Basic realm=\"test\"";
                return Task.FromResult(true);
            }
            if (!context.Request.Path.Value!.Contains("/blobs/", StringComparison.Ordinal))
                return Task.FromResult(false);
            context.Response.Redirect($"http://{storage.Host}{context.Request.Path}");
            return Task.FromResult(true);
        };
        await PullAsync();
        Assert.All(storage.Requests, request => Assert.Null(request.Authorization));
        Assert.NotEmpty(storage.Requests);
    }

    [Fact]
    public async Task A_redirect_away_from_tls_or_loopback_is_refused()
    {
        _registry.Fault = (context, _) =>
        {
            context.Response.Redirect("http://registry.example/v2/x");
            return Task.FromResult(true);
        };
        await FailsAsync("image-pull-failed", "no TLS");
    }

    [Fact]
    public async Task A_bearer_token_is_fetched_used_and_renewed()
    {
        await LogInAsync();
        var tokens = 0;
        _registry.Fault = async (context, _) =>
        {
            if (context.Request.Path == "/token")
            {
                Assert.Equal("repository:app:pull", context.Request.Query["scope"]);
                Assert.StartsWith("Basic ", context.Request.Headers.Authorization.ToString());
                await context.Response.WriteAsync($$"""{ "token": "t{{++tokens}}" }""");
                return true;
            }
            // The first token is good for the manifest only.
            var wanted = context.Request.Path.Value!.Contains("/manifests/", StringComparison.Ordinal) ? "Bearer t1" : "Bearer t2";
            if (context.Request.Headers.Authorization == wanted)
                return false;
            context.Response.StatusCode = 401;
            context.Response.Headers.WWWAuthenticate = $"Bearer realm=\"http://{_registry.Host}/token\",service=\"s\"";
            return true;
        };
        await PullAsync();
        Assert.Equal(2, tokens);
    }

    [Fact]
    public async Task A_registry_that_is_not_there_is_named()
    {
        using var closed = new TcpListener(System.Net.IPAddress.Loopback, 0);
        closed.Start();
        var host = closed.LocalEndpoint.ToString()!;
        closed.Stop();
        var error = await Assert.ThrowsAsync<ImageException>(() => _store.EnsureAsync($"{host}/app", PullPolicy.Missing, null, Cancellation));
        Assert.Equal("image-pull-failed", error.Code);
        Assert.Contains(host, error.Message);
    }

    [Fact]
    public async Task A_waiter_that_goes_away_does_not_take_the_others_along()
    {
        var release = new TaskCompletionSource();
        _registry.Fault = async (context, _) =>
        {
            if (IsLayer(context))
                await release.Task;
            return false;
        };
        using var leaving = new CancellationTokenSource();
        var left = _store.EnsureAsync(Reference, PullPolicy.Missing, null, leaving.Token);
        var stays = PullAsync();
        await leaving.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => left);
        release.SetResult();
        await stays;
    }

    /// <summary>Told from the configuration, the only other blob, by its size.</summary>
    private bool IsLayer(HttpContext context) =>
        context.Request.Path.Value!.Contains("/blobs/", StringComparison.Ordinal) && _registry.Blob(context.Request.Path!).Length > 100_000;

    private static Task<bool> Answer(HttpContext context, bool answers, int status)
    {
        if (answers)
            context.Response.StatusCode = status;
        return Task.FromResult(answers);
    }

    private Task LogInAsync()
    {
        var auth = Convert.ToBase64String("user:secret"u8);
        return File.WriteAllTextAsync(
            Path.Combine(_directory, "config.json"), $$"""{ "auths": { "{{_registry.Host}}": { "auth": "{{auth}}" } } }""", Cancellation);
    }

    private Task<StoredImage> PullAsync() => _store.EnsureAsync(Reference, PullPolicy.Missing, null, Cancellation);

    private async Task FailsAsync(string code, string words)
    {
        var error = await Assert.ThrowsAsync<ImageException>(PullAsync);
        Assert.Equal(code, error.Code);
        Assert.Contains(words, error.Message);
        Assert.DoesNotContain('\n', error.Message);
        Assert.Empty(_store.List());
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(_directory, "images", "sha256")));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(_directory, "images", "tmp")));
    }
}
