using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Ravel.Images;
using Ravel.Testing.Images;
using Ravel.Testing.Repository;

namespace Ravel.Integration.Images;

/// <summary>
/// Registries that are slow, broken or lying. Each fault of <see cref="RegistryFaults"/> is healed, and then the rootfs is byte for
/// byte that of a good registry, or reported in one line with the image's name; nothing of it stays in the store.
/// </summary>
public sealed partial class FaultyRegistryTests : IAsyncLifetime
{
    private const string Secret = "never-to-be-seen";

    private static readonly Lazy<(OciLayout Layout, string Rootfs)> Good = new(MakeImage);

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-faults-").FullName;
    private FaultyRegistry _registry = null!;

    public static IEnumerable<TheoryDataRow<string>> Faults => RegistryFaults.All.Select(fault => new TheoryDataRow<string>(fault.Name));

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private string Reference => $"{_registry.Host}/team/app:1";

    public async ValueTask InitializeAsync()
    {
        _registry = await FaultyRegistry.StartAsync(Good.Value.Layout);
        var auth = Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"user:{Secret}"));
        await File.WriteAllTextAsync(
            Path.Combine(_directory, "config.json"), $$"""{ "auths": { "{{_registry.Host}}": { "auth": "{{auth}}" } } }""", Cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        await _registry.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Theory]
    [MemberData(nameof(Faults))]
    public async Task Each_fault_is_healed_or_reported(string name)
    {
        var fault = RegistryFaults.All.Single(fault => fault.Name == name);
        _registry.Fault = (context, before) => fault.AnswerAsync(_registry, context, before);
        using var store = await OpenAsync(TimeSpan.FromSeconds(!fault.Stalls ? 60 : fault.Code is null ? 1 : 0.4));
        if (fault.Code is null)
        {
            var image = await PullAsync(store);
            Assert.Equal(Good.Value.Rootfs, HashOf(image.RootfsPath));
            return;
        }

        var error = await Assert.ThrowsAsync<ImageException>(() => PullAsync(store));
        TestContext.Current.TestOutputHelper?.WriteLine($"{error.Code}: {error.Message}");
        Assert.Equal(fault.Code, error.Code);
        Assert.Contains(fault.Words, error.Message);
        Assert.Contains("team/app", error.Message);
        Assert.DoesNotContain(error.Message, char.IsControl);
        for (Exception? e = error; e is not null; e = e.InnerException)
            Assert.DoesNotContain(Secret, e.Message);
        Assert.Empty(store.List());
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(_directory, "images", "sha256")));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(_directory, "images", "tmp")));
    }

    [Fact]
    public void The_manual_lists_every_fault_and_what_comes_of_it()
    {
        var page = File.ReadAllText(SourceTree.PathOf("docs/images.md"));
        var listed = Row().Matches(page).Select(row => (row.Groups[1].Value, row.Groups[2].Value)).ToList();
        var all = RegistryFaults.All.Select(fault => (fault.Name, fault.Code is null ? "healed" : $"`{fault.Code}`"));
        var tls = RegistryTlsTests.Faults.Select(name => (name, "`image-pull-failed`"));
        Assert.Equal(all.Concat(tls).Order(), listed.Order());
    }

    [Fact]
    public async Task Requests_at_once_reach_the_registry_as_one()
    {
        using var store = await OpenAsync();
        await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => PullAsync(store)));
        Assert.Equal(1, _registry.Count("/manifests/"));
        Assert.Equal(3, _registry.Count("/blobs/"));
    }

    [Fact]
    public async Task A_transfer_that_breaks_goes_on_where_it_stopped()
    {
        var fault = RegistryFaults.All.Single(fault => fault.Name == "a layer that closes every 300000 bytes");
        _registry.Fault = (context, before) => fault.AnswerAsync(_registry, context, before);
        using var store = await OpenAsync();
        await PullAsync(store);
        var starts = _registry.Requests.Where(request => request.Range is not null).Select(request => request.Range).ToList();
        Assert.True(starts.Count >= 3, $"{starts.Count} requests had a range");
        Assert.Equal(starts.Distinct(), starts);
    }

    [Fact]
    public async Task A_busy_registry_is_asked_five_times()
    {
        _registry.Fault = (context, _) =>
        {
            context.Response.StatusCode = 503;
            return Task.FromResult(true);
        };
        using var store = await OpenAsync();
        await Assert.ThrowsAsync<ImageException>(() => PullAsync(store));
        Assert.Equal(5, _registry.Requests.Count);
    }

    [Fact]
    public async Task A_manifest_that_is_not_what_was_asked_for_is_refused()
    {
        _registry.Fault = async (context, _) =>
        {
            await context.Response.Body.WriteAsync(_registry.FirstManifest());
            return true;
        };
        using var store = await OpenAsync();
        var error = await Assert.ThrowsAsync<ImageException>(() => store.EnsureAsync(
            $"{_registry.Host}/app@sha256:{new string('b', 64)}", PullPolicy.Missing, null, Cancellation));
        Assert.Equal("image-invalid", error.Code);
        Assert.Contains(new string('b', 64), error.Message);
    }

    [Fact]
    public async Task A_registry_that_is_not_there_is_named()
    {
        using var closed = new TcpListener(System.Net.IPAddress.Loopback, 0);
        closed.Start();
        var host = closed.LocalEndpoint.ToString()!;
        closed.Stop();
        using var store = await OpenAsync();
        var error = await Assert.ThrowsAsync<ImageException>(() => store.EnsureAsync($"{host}/app", PullPolicy.Missing, null, Cancellation));
        Assert.Equal("image-pull-failed", error.Code);
        Assert.Contains($"{host}/app", error.Message);
        Assert.Contains("check the port", error.Message);
    }

    [Fact]
    public async Task A_waiter_that_goes_away_does_not_take_the_others_along()
    {
        var release = new TaskCompletionSource();
        _registry.Fault = async (context, _) =>
        {
            if (context.Request.Path.Value!.Contains("/blobs/", StringComparison.Ordinal))
                await release.Task;
            return false;
        };
        using var store = await OpenAsync();
        using var leaving = new CancellationTokenSource();
        var left = store.EnsureAsync(Reference, PullPolicy.Missing, null, leaving.Token);
        var stays = PullAsync(store);
        await leaving.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => left);
        release.SetResult();
        await stays;
    }

    [Fact]
    public async Task Progress_names_every_layer_before_it_comes_and_ends_with_all_of_it()
    {
        using var store = await OpenAsync();
        var steps = new Steps();
        await store.EnsureAsync(Reference, PullPolicy.Missing, steps, Cancellation);

        var seen = steps.All;
        Assert.Equal("resolve", seen[0].Phase);
        Assert.Equal(_registry.Host, Assert.Single(seen, step => step.Registry is not null).Registry);
        Assert.Equal("build", seen[^1].Phase);
        var layers = seen.Where(step => step.LayerDigest is not null).ToLookup(step => step.LayerDigest);
        Assert.Equal(2, layers.Count);
        Assert.All(layers, layer =>
        {
            Assert.Equal(0, layer.First().ReceivedBytes);
            Assert.Equal(layer.Last().TotalBytes, layer.Last().ReceivedBytes);
            Assert.Equal(layer.Select(step => step.ReceivedBytes).Order(), layer.Select(step => step.ReceivedBytes));
        });
    }

    /// <summary>Two layers: one of 1.3 MB that does not compress, a small one.</summary>
    private static (OciLayout Layout, string Rootfs) MakeImage()
    {
        var directory = Directory.CreateTempSubdirectory("ravel-faults-image-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(directory, recursive: true);
        var noise = new byte[1_300_000];
        new Random(7).NextBytes(noise);
        var layout = new LayoutBuilder(directory)
            .Layer(new TarBuilder().Directory("bin").Entry('0', "bin/noise"u8.ToArray(), content: noise).ToArray())
            .Layer(new TarBuilder().Directory("etc").File("etc/name", "app").ToArray())
            .Build();
        var data = Directory.CreateTempSubdirectory("ravel-faults-good-").FullName;
        using var store = ImageStore.OpenAsync(new ImageStoreOptions { DataDirectory = data }, TimeProvider.System, Cancellation).GetAwaiter().GetResult();
        var rootfs = HashOf(store.ImportAsync(layout.Directory, "app", Cancellation).GetAwaiter().GetResult().RootfsPath);
        Directory.Delete(data, recursive: true);
        return (layout, rootfs);
    }

    private static string HashOf(string file)
    {
        using var stream = File.OpenRead(file);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    private Task<ImageStore> OpenAsync(TimeSpan? patience = null) => ImageStore.OpenAsync(
        new ImageStoreOptions
        {
            DataDirectory = _directory,
            Registry = new RegistryOptions
            {
                FirstRetryDelay = TimeSpan.FromMilliseconds(1),
                MaxRetryDelay = TimeSpan.FromMilliseconds(10),
                StallTimeout = patience ?? TimeSpan.FromSeconds(60),
                DockerConfigFile = Path.Combine(_directory, "config.json"),
            },
        },
        TimeProvider.System, Cancellation);

    private Task<StoredImage> PullAsync(ImageStore store) => store.EnsureAsync(Reference, PullPolicy.Missing, null, Cancellation);

    /// <summary>A row of the list of faults: two cells, the second an outcome.</summary>
    [GeneratedRegex(@"^\| ([^|]+?) \| (healed|`[a-z-]+`) \|", RegexOptions.Multiline)]
    private static partial Regex Row();

    private sealed class Steps : IProgress<ImageProgress>
    {
        private readonly Lock _lock = new();
        private readonly List<ImageProgress> _steps = [];

        public List<ImageProgress> All
        {
            get
            {
                lock (_lock)
                    return [.. _steps];
            }
        }

        public void Report(ImageProgress value)
        {
            lock (_lock)
                _steps.Add(value);
        }
    }
}
