using Ravel.Cli.Connection;
using Ravel.Cli.Errors;
using Ravel.Contracts.Api;

namespace Ravel.Unit.Cli;

public sealed class ServerAddressTests : IDisposable
{
    private readonly string _home = Directory.CreateTempSubdirectory("ravel-cli-").FullName;
    private readonly Dictionary<string, string> _environment = [];
    private readonly Dictionary<string, ClientConfig> _clients = [];

    public ServerAddressTests()
    {
        Daemon("/data/one", "http://127.0.0.1:7001", "token-one");
        Daemon("/data/two", "http://127.0.0.1:7002", "token-two");
    }

    [Fact]
    public void Without_flags_it_is_the_daemon_that_was_brought_up_last()
    {
        new ContextFile { DataDirectory = "/data/two" }.Write(Around());

        Assert.Equal(("http://127.0.0.1:7002/", "token-two"), Find());
    }

    [Fact]
    public void Without_a_context_it_is_the_default_directory()
    {
        Daemon(Path.Combine(_home, ".local/share/ravel"), "http://127.0.0.1:7003", "token-three");

        Assert.Equal(("http://127.0.0.1:7003/", "token-three"), Find());
    }

    [Fact]
    public void A_data_directory_by_flag_beats_one_by_environment_beats_the_context()
    {
        new ContextFile { DataDirectory = "/data/none" }.Write(Around());
        _environment["RAVEL_DATA"] = "/data/one";
        Assert.Equal(("http://127.0.0.1:7001/", "token-one"), Find());

        Assert.Equal(("http://127.0.0.1:7002/", "token-two"), Find(data: "/data/two"));
    }

    [Fact]
    public void A_server_by_flag_beats_all_else_and_takes_the_token_of_the_environment()
    {
        _environment["RAVEL_DATA"] = "/data/one";
        _environment["RAVEL_SERVER"] = "http://other:1";
        _environment["RAVEL_TOKEN"] = "mine";

        Assert.Equal(("https://far:7717/", "mine"), Find(server: "https://far:7717"));
        Assert.Equal(("http://other:1/", "mine"), Find());
        Assert.Equal(("http://far:7717/", "given"), Find(server: "far:7717", token: "given"));
    }

    [Fact]
    public void The_daemons_token_goes_to_no_other_server()
    {
        _environment["RAVEL_DATA"] = "/data/one";

        Assert.Equal(("http://evil:1/", null), Find(server: "http://evil:1"));
        Assert.Equal(("http://127.0.0.1:7001/", "token-one"), Find(server: "http://127.0.0.1:7001/"));
    }

    [Fact]
    public void A_token_of_the_environment_is_not_for_a_daemon_named_by_flag()
    {
        _environment["RAVEL_TOKEN"] = "of-another";

        Assert.Equal(("http://127.0.0.1:7001/", "token-one"), Find(data: "/data/one"));
    }

    [Fact]
    public void Where_nothing_is_up_the_error_says_how_to_bring_it_up()
    {
        var error = Assert.Throws<CliException>(() => Find(data: "/data/none"));

        Assert.Equal("ravel: server: none has been brought up in /data/none; is it up? run: ravel up --data /data/none", error.Line);
    }

    [Theory]
    [InlineData("ftp://x")]
    [InlineData("http://")]
    [InlineData("http://a b")]
    public void What_is_no_address_is_a_usage_error(string server) =>
        Assert.Equal(ExitCodes.Usage, Assert.Throws<CliException>(() => Find(server: server)).ExitCode);

    [Fact]
    public void Root_has_its_data_in_var_lib() =>
        Assert.Equal("/var/lib/ravel", DataDirectory.Default(Around() with { IsRoot = true }));

    [Fact]
    public void A_context_file_that_is_damaged_is_as_none()
    {
        Directory.CreateDirectory(Path.Combine(_home, ".config/ravel"));
        File.WriteAllText(ContextFile.PathOf(Around()), "{");

        Assert.Equal(Path.Combine(_home, ".local/share/ravel"), DataDirectory.ForUse(null, Around()));
    }

    public void Dispose() => Directory.Delete(_home, recursive: true);

    private Surroundings Around() => new(name => _environment.GetValueOrDefault(name), IsRoot: false, _home);

    private void Daemon(string directory, string server, string token) => _clients[directory] = new ClientConfig
    {
        Server = server,
        Token = token,
        DataDirectory = directory,
        Pid = 1,
        PidStartTime = 1,
    };

    private (string, string?) Find(string? server = null, string? data = null, string? token = null)
    {
        var address = ServerAddress.Find(server, data, token, Around(), _clients.GetValueOrDefault);
        return (address.Url.ToString(), address.Token);
    }
}
