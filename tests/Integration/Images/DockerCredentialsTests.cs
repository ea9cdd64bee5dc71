using Ravel.Images;
using Ravel.Images.Registry;
using Ravel.Testing.Needs;

namespace Ravel.Integration.Images;

/// <summary>Credentials as Docker's client keeps them, with credential helpers that are real programs, good and bad.</summary>
/// <remarks>Alone, because they are found by the PATH of the whole process.</remarks>
[CollectionDefinition(nameof(DockerCredentialsTests), DisableParallelization = true)]
[Collection(nameof(DockerCredentialsTests))]
public sealed class DockerCredentialsTests : IDisposable
{
    private const string Registry = "registry.example:5000";
    private const string Secret = "never-to-be-seen";

    /// <summary>For a helper that ends, which takes milliseconds.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-credentials-").FullName;
    private readonly string? _path = Environment.GetEnvironmentVariable("PATH");

    public DockerCredentialsTests() => Environment.SetEnvironmentVariable("PATH", $"{_directory}:{_path}");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("PATH", _path);
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task A_helper_is_asked_for_its_registry()
    {
        Helper("one", "read server; echo \"{\\\"ServerURL\\\":\\\"$server\\\",\\\"Username\\\":\\\"$1 $server\\\",\\\"Secret\\\":\\\"s\\\"}\"");
        Assert.Equal(
            new RegistryCredentials($"get {Registry}", "s"), await FindAsync($$"""{ "credHelpers": { "{{Registry}}": "one", "other.example": "none" } }"""));
        Assert.Equal(
            new RegistryCredentials("get https://index.docker.io/v1/", "s"), await FindAsync("""{ "credsStore": "one" }""", "docker.io"));
    }

    [Fact]
    public async Task A_helper_that_gives_an_identity_token_is_understood()
    {
        Helper("token", "echo '{\"Username\":\"<token>\",\"Secret\":\"abc\"}'");
        Assert.Equal(new RegistryCredentials("", "", "abc"), await FindAsync("""{ "credsStore": "token" }"""));
    }

    [Fact]
    public async Task A_helper_that_knows_no_credentials_means_none()
    {
        Helper("empty", "echo 'credentials not found in native keychain'; exit 1");
        Assert.Null(await FindAsync("""{ "credsStore": "empty" }"""));
        Assert.Null(await FindAsync($$"""{ "credHelpers": { "{{Registry}}": "empty" } }"""));
    }

    [Theory]
    [InlineData("exit 1", "ended with 1: (it printed no reason)")]
    [InlineData("echo 'the keychain is locked'; exit 3", "ended with 3: the keychain is locked")]
    [InlineData("echo 'gpg: failed' >&2; exit 2", "ended with 2: gpg: failed")]
    [InlineData("printf 'a\\033[2Jb'; exit 1", "ended with 1: a [2Jb")]
    [InlineData("echo " + Secret, "not JSON")]
    [InlineData("printf '\\377\\376\\000'", "not JSON")]
    [InlineData("true", "not JSON")]
    [InlineData("echo '[\"" + Secret + "\"]'", "no Username and Secret")]
    [InlineData("echo '{\"Username\":1,\"Secret\":\"" + Secret + "\"}'", "no Username and Secret")]
    [InlineData("echo '{\"Username\":\"u\",\"Secret\":\"\"}'", "no Username and Secret")]
    [InlineData("head -c 30000000 /dev/zero | tr '\\0' x", "over 262144 characters")]
    [InlineData("exec sleep 1000", "did not end within")]
    [InlineData("yes", "did not end within")]
    public async Task A_helper_that_fails_is_named_and_its_secrets_are_not(string script, string words)
    {
        Helper("bad", script);
        // Those that hang are given up soon.
        var patience = words == "did not end within" ? TimeSpan.FromSeconds(3) : Patience;
        var error = await Assert.ThrowsAsync<ImageException>(() => FindAsync($$"""{ "credHelpers": { "{{Registry}}": "bad" } }""", patience: patience));
        Assert.Equal("registry-unauthorized", error.Code);
        Assert.Contains("docker-credential-bad", error.Message);
        Assert.Contains(Registry, error.Message);
        Assert.Contains(words, error.Message);
        Assert.Contains("config.json", error.Message);
        Assert.DoesNotContain(error.Message, char.IsControl);
        Assert.InRange(error.Message.Length, 1, 800);
        for (Exception? e = error; e is not null; e = e.InnerException)
            Assert.DoesNotContain(Secret, e.Message);
    }

    [Theory]
    [InlineData("missing", "could not be run")]
    [InlineData("../evil", "is no name")]
    [InlineData("", "is no name")]
    public async Task A_helper_that_cannot_be_run_is_named(string name, string words)
    {
        var error = await Assert.ThrowsAsync<ImageException>(() => FindAsync($$"""{ "credHelpers": { "{{Registry}}": "{{name}}" } }"""));
        Assert.Equal("registry-unauthorized", error.Code);
        Assert.Contains(words, error.Message);
    }

    [Fact]
    public async Task Plain_credentials_come_in_each_form_that_docker_writes()
    {
        var encoded = Convert.ToBase64String("user:pass:word"u8);
        Assert.Equal(new RegistryCredentials("user", "pass:word"), await FindAsync($$"""{ "auths": { "{{Registry}}": { "auth": "{{encoded}}" } } }"""));
        Assert.Equal(new RegistryCredentials("u", "p"), await FindAsync($$"""{ "auths": { "https://{{Registry}}/v2/": { "username": "u", "password": "p" } } }"""));
        Assert.Equal(
            new RegistryCredentials("", "", "id"), await FindAsync($$"""{ "auths": { "{{Registry}}": { "identitytoken": "id" } } }"""));
        Assert.Equal(
            new RegistryCredentials("hub", "p"),
            await FindAsync("""{ "auths": { "https://index.docker.io/v1/": { "username": "hub", "password": "p" } } }""", "docker.io"));
        Assert.Null(await FindAsync($$"""{ "auths": { "{{Registry}}": {} } }"""));
        Assert.Null(await FindAsync("""{ "auths": { "other.example": { "username": "u", "password": "p" } } }"""));
        Assert.Null(await FindAsync("{}"));
    }

    [Fact]
    public async Task The_entry_that_names_the_registry_exactly_comes_first() =>
        Assert.Equal(
            new RegistryCredentials("right", "p"),
            await FindAsync(
                $$"""{ "auths": { "https://{{Registry}}/other": { "username": "wrong", "password": "p" }, "{{Registry}}": { "username": "right", "password": "p" } } }"""));

    [Fact]
    public async Task A_helper_for_the_registry_comes_before_entries_and_the_store_after_them()
    {
        Helper("for", "echo '{\"Username\":\"for\",\"Secret\":\"s\"}'");
        Helper("all", "echo '{\"Username\":\"all\",\"Secret\":\"s\"}'");
        var entry = $$""" "auths": { "{{Registry}}": { "username": "u", "password": "p" } } """;
        Assert.Equal("for", (await FindAsync($$"""{ {{entry}}, "credsStore": "all", "credHelpers": { "{{Registry}}": "for" } }"""))!.UserName);
        Assert.Equal("u", (await FindAsync($$"""{ {{entry}}, "credsStore": "all" }"""))!.UserName);
        Assert.Equal("all", (await FindAsync("""{ "credsStore": "all" }"""))!.UserName);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("""{ "auths": { "registry.example:5000": { "auth": "%%%" } } }""")]
    [InlineData("""{ "auths": { "registry.example:5000": { "auth": "bm9jb2xvbg==" } } }""")]
    public async Task A_file_that_is_wrong_is_named(string content)
    {
        var error = await Assert.ThrowsAsync<ImageException>(() => FindAsync(content));
        Assert.Equal("registry-unauthorized", error.Code);
        Assert.Contains("config.json", error.Message);
    }

    [Fact]
    public async Task No_file_means_no_credentials() =>
        Assert.Null(await DockerCredentials.FindAsync(Registry, new RegistryOptions { DockerConfigFile = Path.Combine(_directory, "none") }, Cancellation));

    private void Helper(string name, string script) => ProgramFile.Write(Path.Combine(_directory, $"docker-credential-{name}"), script);

    private async Task<RegistryCredentials?> FindAsync(string config, string registry = Registry, TimeSpan? patience = null)
    {
        var file = Path.Combine(_directory, "config.json");
        await File.WriteAllTextAsync(file, config, Cancellation);
        return await DockerCredentials.FindAsync(registry, new RegistryOptions { DockerConfigFile = file, HelperTimeout = patience ?? Patience }, Cancellation);
    }
}
