using System.Net;
using System.Net.Sockets;
using Ravel.Images;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>Registries with TLS, whose certificates are good, of a stranger, for another, too old, or not there at all.</summary>
public sealed class RegistryTlsTests : IDisposable
{
    /// <summary>As docs/images.md lists what the tests below have; all are reported, none can be healed.</summary>
    internal static readonly string[] Faults =
    [
        "a certificate nobody trusted here has signed", "a certificate of another authority than the one that is named",
        "a certificate for another name", "a certificate that has expired", "no TLS where there should be", "a connection that is cut in the handshake",
    ];

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-tls-").FullName;
    private readonly TestAuthority _authority = new("Ravel's test authority");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _authority.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_certificate_of_the_named_authority_is_believed(bool fromDirectory)
    {
        await using var registry = await StartAsync("localhost");
        var ca = WritePem(_authority);
        await PullAsync(registry, Settings(registry.Host, $"\"ca\": \"{(fromDirectory ? Path.GetDirectoryName(ca) : ca)}\""));
    }

    [Fact]
    public async Task An_authority_named_for_the_host_serves_all_its_ports()
    {
        await using var registry = await StartAsync("localhost");
        await PullAsync(registry, Settings("localhost", $"\"ca\": \"{WritePem(_authority)}\""));
    }

    [Fact]
    public async Task A_certificate_of_another_authority_is_refused_with_what_to_set()
    {
        using var other = new TestAuthority("Ravel's test authority");
        await using var registry = await StartAsync("localhost");
        await FailsAsync(registry.Host, Settings(registry.Host, $"\"ca\": \"{WritePem(other)}\""), "signed by nobody trusted here", $"{{\"{registry.Host}\": {{\"ca\": \"FILE\"}}}}");
        Assert.Empty(registry.Requests);
    }

    [Fact]
    public async Task A_certificate_of_an_authority_that_the_system_does_not_know_is_refused()
    {
        await using var registry = await StartAsync("localhost");
        await FailsAsync(registry.Host, Settings(registry.Host, "\"http\": false"), "signed by nobody trusted here");
        Assert.Empty(registry.Requests);
    }

    [Fact]
    public async Task A_certificate_for_another_name_is_refused()
    {
        await using var registry = await StartAsync("registry.example");
        await FailsAsync(registry.Host, Settings(registry.Host, $"\"ca\": \"{WritePem(_authority)}\""), "for another name");
    }

    [Fact]
    public async Task A_certificate_that_has_expired_is_refused()
    {
        await using var registry = await StartAsync("localhost", isExpired: true);
        await FailsAsync(registry.Host, Settings(registry.Host, $"\"ca\": \"{WritePem(_authority)}\""), "has expired");
    }

    [Fact]
    public async Task A_registry_without_tls_where_it_should_have_some_is_refused_with_what_to_set()
    {
        await using var registry = await FaultyRegistry.StartAsync(SmallImage());
        await FailsAsync(registry.Host, Settings(registry.Host, "\"http\": false"), "does not speak TLS", "\"http\": true");
        Assert.Empty(registry.Requests);
    }

    [Fact]
    public async Task A_connection_that_is_cut_in_the_handshake_is_tried_again_and_then_reported()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var accepted = 0;
        var cutting = Task.Run(
            async () =>
            {
                while (true)
                {
                    using var socket = await listener.AcceptSocketAsync(Cancellation);
                    await socket.ReceiveAsync(new byte[1], Cancellation);
                    Interlocked.Increment(ref accepted);
                }
            },
            Cancellation);
        var host = $"localhost:{((IPEndPoint)listener.LocalEndpoint).Port}";
        await FailsAsync(host, Settings(host, "\"http\": false"), "5 tries");
        Assert.Equal(5, Volatile.Read(ref accepted));
        listener.Stop();
        await Assert.ThrowsAnyAsync<Exception>(() => cutting);
    }

    [Fact]
    public async Task A_redirect_away_from_tls_is_refused()
    {
        await using var registry = await StartAsync("localhost");
        registry.Fault = (context, _) =>
        {
            context.Response.Redirect($"http://registry.example{context.Request.Path}");
            return Task.FromResult(true);
        };
        await FailsAsync(registry.Host, Settings(registry.Host, $"\"ca\": \"{WritePem(_authority)}\""), "no TLS");
    }

    [Fact]
    public async Task Credentials_stay_behind_when_tls_is_left()
    {
        await using var storage = await FaultyRegistry.StartAsync(SmallImage());
        await using var registry = await StartAsync("localhost");
        await File.WriteAllTextAsync(
            Path.Combine(_directory, "config.json"),
            $$"""{ "auths": { "{{registry.Host}}": { "username": "u", "password": "p" }, "{{storage.Host}}": { "username": "u", "password": "p" } } }""", Cancellation);
        registry.Fault = (context, _) =>
        {
            if (context.Request.Headers.Authorization.Count == 0)
            {
                context.Response.StatusCode = 401;
                context.Response.Headers.WWWAuthenticate = "Basic";
            }
            else
            {
                context.Response.Redirect($"http://{storage.Host}{context.Request.Path}");
            }
            return Task.FromResult(true);
        };
        await PullAsync(registry, Settings(registry.Host, $"\"ca\": \"{WritePem(_authority)}\""));
        Assert.NotEmpty(storage.Requests);
        Assert.All(storage.Requests, request => Assert.Null(request.Authorization));
    }

    private async Task<FaultyRegistry> StartAsync(string name, bool isExpired = false) =>
        await FaultyRegistry.StartAsync(SmallImage(), _authority.Issue(name, isExpired));

    private OciLayout SmallImage() =>
        new LayoutBuilder(Directory.CreateDirectory(Path.Combine(_directory, "layout")).FullName)
            .Layer(new TarBuilder().File("name", "app").ToArray()).Build();

    private string WritePem(TestAuthority authority)
    {
        var directory = Directory.CreateDirectory(Path.Combine(_directory, "ca")).FullName;
        File.WriteAllText(Path.Combine(directory, "readme.txt"), "no certificate");
        File.WriteAllText(Path.Combine(directory, "ca.crt"), authority.Pem);
        return Path.Combine(directory, "ca.crt");
    }

    private string Settings(string host, string settings)
    {
        var file = Path.Combine(_directory, "registries.json");
        File.WriteAllText(file, $$"""{ "registries": { "{{host}}": { {{settings}} } }, "docker_config": "{{Path.Combine(_directory, "config.json")}}" }""");
        return file;
    }

    private Task PullAsync(FaultyRegistry registry, string settings) => PullAsync(registry.Host, settings);

    private async Task PullAsync(string host, string settings)
    {
        using var store = await ImageStore.OpenAsync(
            new ImageStoreOptions
            {
                DataDirectory = Directory.CreateDirectory(Path.Combine(_directory, "data")).FullName,
                Registry = RegistryFile.Load(settings) with { FirstRetryDelay = TimeSpan.FromMilliseconds(1), MaxRetryDelay = TimeSpan.FromMilliseconds(10) },
            },
            TimeProvider.System, Cancellation);
        await store.EnsureAsync($"{host}/app:1", PullPolicy.Missing, null, Cancellation);
    }

    private async Task FailsAsync(string host, string settings, params string[] words)
    {
        var error = await Assert.ThrowsAsync<ImageException>(() => PullAsync(host, settings));
        TestContext.Current.TestOutputHelper?.WriteLine(error.Message);
        Assert.Equal("image-pull-failed", error.Code);
        Assert.Contains($"{host}/app:1", error.Message);
        Assert.All(words, word => Assert.Contains(word, error.Message));
    }
}
