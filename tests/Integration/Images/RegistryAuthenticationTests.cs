using Ravel.Images;
using Ravel.Testing.Images;

namespace Ravel.Integration.Images;

/// <summary>Passwords and tokens, with a real registry where one can be made to ask for what a test is about.</summary>
public sealed class RegistryAuthenticationTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-auth-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task A_real_registry_with_a_password_and_tls()
    {
        using var authority = new TestAuthority("Ravel's test authority");
        using var certificate = authority.Issue("localhost");
        await using var registry = await RegistryFixture.StartAsync(password: true, certificate: certificate, cancellationToken: Cancellation);
        var reference = await registry.PushAsync(Image(), "team/app:1", Cancellation);
        await File.WriteAllTextAsync(Path.Combine(_directory, "ca.pem"), authority.Pem, Cancellation);
        var settings = $$"""{ "registries": { "{{registry.Host}}": { "ca": "{{_directory}}/ca.pem" } }, "docker_config": "{{_directory}}/config.json" }""";

        await RefusedAsync(reference, settings, "asks for a password");
        await LogInAsync(registry.Host, RegistryFixture.UserName, "wrong");
        await RefusedAsync(reference, settings, "refuses the password of ravel");
        await LogInAsync(registry.Host, RegistryFixture.UserName, RegistryFixture.Password);
        await PullAsync(reference, settings);
    }

    [Fact]
    public async Task A_real_registry_with_a_token_service()
    {
        await using var tokens = await TokenServer.StartAsync();
        await using var registry = await RegistryFixture.StartAsync(tokens: tokens, cancellationToken: Cancellation);
        var reference = await registry.PushAsync(Image(), "team/app:1", Cancellation);
        var before = tokens.Requests.Count;

        await RefusedAsync(reference, null, "401 when asked for a token");
        await LogInAsync(registry.Host, TokenServer.UserName, "wrong");
        await RefusedAsync(reference, null, "docker login");
        await LogInAsync(registry.Host, TokenServer.UserName, TokenServer.Password);
        await PullAsync(reference);

        // One token serves manifest, configuration and layers.
        Assert.Equal(Enumerable.Repeat(("GET", TokenServer.Service, "repository:team/app:pull"), 3), tokens.Requests.Skip(before));
    }

    [Fact]
    public async Task A_real_registry_and_an_identity_token_of_a_helper()
    {
        await using var tokens = await TokenServer.StartAsync();
        await using var registry = await RegistryFixture.StartAsync(tokens: tokens, cancellationToken: Cancellation);
        var reference = await registry.PushAsync(Image(), "team/app:1", Cancellation);
        await File.WriteAllTextAsync(
            Path.Combine(_directory, "config.json"), $$"""{ "auths": { "{{registry.Host}}": { "identitytoken": "{{TokenServer.IdentityToken}}" } } }""", Cancellation);
        await PullAsync(reference);
        Assert.Equal(("POST", TokenServer.Service, "repository:team/app:pull"), tokens.Requests[^1]);
    }

    [Fact]
    public async Task A_token_that_runs_out_in_the_middle_of_a_pull_is_renewed()
    {
        await using var tokens = await TokenServer.StartAsync();
        await using var registry = await FaultyRegistry.StartAsync(Image());
        registry.Fault = (context, _) =>
        {
            // The first is good for the manifest only, the second for one blob.
            var needed = context.Request.Path.Value!.Contains("/manifests/", StringComparison.Ordinal) ? 1 : Math.Min(3, registry.Requests.Select(request => request.Path).Distinct().Count());
            if (tokens.Issued.Count >= needed && context.Request.Headers.Authorization == $"Bearer {tokens.Issued[needed - 1]}")
                return Task.FromResult(false);
            context.Response.StatusCode = 401;
            context.Response.Headers.WWWAuthenticate = $"Bearer realm=\"{tokens.Realm}\",service=\"{TokenServer.Service}\",error=\"invalid_token\"";
            return Task.FromResult(true);
        };
        await LogInAsync(registry.Host, TokenServer.UserName, TokenServer.Password);
        await PullAsync($"{registry.Host}/team/app:1");
        Assert.Equal(3, tokens.Issued.Count);
    }

    [Fact]
    public async Task A_redirect_to_another_host_gets_no_credentials()
    {
        await using var storage = await FaultyRegistry.StartAsync(Image());
        await using var registry = await FaultyRegistry.StartAsync(Image());
        registry.Fault = (context, _) =>
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
        await LogInAsync(registry.Host, "user", "secret");
        await PullAsync($"{registry.Host}/team/app:1");
        Assert.NotEmpty(storage.Requests);
        Assert.All(storage.Requests, request => Assert.Null(request.Authorization));
    }

    [Fact]
    public async Task Whoever_a_registry_redirects_to_is_not_told_its_password_for_a_token()
    {
        await using var tokens = await TokenServer.StartAsync();
        await using var storage = await FaultyRegistry.StartAsync(Image());
        storage.Fault = (context, _) =>
        {
            context.Response.StatusCode = 401;
            context.Response.Headers.WWWAuthenticate = $"Bearer realm=\"{tokens.Realm}\",service=\"{TokenServer.Service}\"";
            return Task.FromResult(true);
        };
        await using var registry = await FaultyRegistry.StartAsync(Image());
        registry.Fault = (context, _) =>
        {
            if (!context.Request.Path.Value!.Contains("/blobs/", StringComparison.Ordinal))
                return Task.FromResult(false);
            context.Response.Redirect($"http://{storage.Host}{context.Request.Path}");
            return Task.FromResult(true);
        };
        await LogInAsync(registry.Host, TokenServer.UserName, TokenServer.Password);
        await RefusedAsync($"{registry.Host}/team/app:1", null, $"{registry.Host} refuses");
        Assert.Empty(tokens.Requests);
        Assert.All(storage.Requests, request => Assert.Null(request.Authorization));
    }

    private OciLayout Image() =>
        new LayoutBuilder(Directory.CreateDirectory(Path.Combine(_directory, "layout")).FullName)
            .Layer(new TarBuilder().File("name", "app").ToArray()).Build() with { Tag = "" };

    private Task LogInAsync(string host, string user, string password) => File.WriteAllTextAsync(
        Path.Combine(_directory, "config.json"), $$"""{ "auths": { "{{host}}": { "username": "{{user}}", "password": "{{password}}" } } }""", Cancellation);

    private async Task RefusedAsync(string reference, string? settings, string words)
    {
        var error = await Assert.ThrowsAsync<ImageException>(() => PullAsync(reference, settings));
        Assert.Equal("registry-unauthorized", error.Code);
        Assert.Contains(words, error.Message);
    }

    private async Task PullAsync(string reference, string? settings = null)
    {
        var file = Path.Combine(_directory, "registries.json");
        await File.WriteAllTextAsync(file, settings ?? $$"""{ "docker_config": "{{_directory}}/config.json" }""", Cancellation);
        using var store = await ImageStore.OpenAsync(
            new ImageStoreOptions { DataDirectory = Directory.CreateDirectory(Path.Combine(_directory, "data")).FullName, Registry = RegistryFile.Load(file) },
            TimeProvider.System, Cancellation);
        Assert.NotEmpty((await store.EnsureAsync(reference, PullPolicy.Missing, null, Cancellation)).ManifestDigest);
    }
}
