using Ravel.Daemon;

namespace Ravel.Unit.Daemon;

public sealed class SettingsTests
{
    private readonly Dictionary<string, string> _environment = [];
    private SettingsFile _file = SettingsFile.Empty;

    [Fact]
    public void An_option_counts_more_than_its_variable_and_that_more_than_the_file_and_that_more_than_the_default()
    {
        Assert.Equal("0.0.0.0:7718", Server().HubListen.ToString());

        _file = File("[server]\nhub-listen = \"10.0.0.1:1\"");
        Assert.Equal("10.0.0.1:1", Server().HubListen.ToString());

        _environment["RAVEL_HUB_LISTEN"] = "10.0.0.1:2";
        Assert.Equal("10.0.0.1:2", Server().HubListen.ToString());

        Assert.Equal("10.0.0.1:3", Server("--hub-listen", "10.0.0.1:3").HubListen.ToString());
        Assert.Equal("10.0.0.1:4", Server("--hub-listen=10.0.0.1:4").HubListen.ToString());
    }

    [Fact]
    public void A_variable_that_is_empty_says_nothing()
    {
        _environment["RAVEL_HUB_LISTEN"] = "";

        Assert.Equal("0.0.0.0:7718", Server().HubListen.ToString());
    }

    [Fact]
    public void What_the_file_says_of_one_command_counts_more_than_what_it_says_of_all()
    {
        _file = File(
            """
            data = "/all"
            vmm = "firecracker"
            [agent]
            data = "/agents"
            [server]
            listen = "127.0.0.1:1"
            """);

        Assert.Equal(("/all", "127.0.0.1:1"), (Server().DataDirectory, Server().Listen.ToString()));
        Assert.Equal(("/agents", "firecracker"), (Agent().Host.DataDirectory, Agent().Host.Vmm));
        Assert.Equal(("/all", "firecracker"), (Run().DataDirectory, Run().Vmm));
        Assert.Equal("0.0.0.0:7719", Agent().Listen.ToString());
    }

    [Fact]
    public void Numbers_switches_and_labels_are_written_as_toml_has_them()
    {
        _file = File(
            """
            [agent]
            cpu-overcommit = 2.5
            disk-overcommit = 2
            warm-start = false
            image-limit = "50G"
            [agent.label]
            disk = "ssd"
            gpu = true
            rack = 7
            """);

        var agent = Agent();

        Assert.Equal((2.5, 2, false, 50L << 30), (agent.Host.CpuOvercommit, agent.Host.DiskOvercommit, agent.Host.WarmStart, agent.Host.ImageLimit));
        Assert.Equal(new Dictionary<string, string> { ["disk"] = "ssd", ["gpu"] = "on", ["rack"] = "7" }, agent.Labels);
        Assert.Equal(new Dictionary<string, string> { ["a"] = "b" }, Agent("--label", "a=b").Labels);
        _file = File("agent.label = [\"x=1\", \"y=2\"]");
        Assert.Equal(2, Agent().Labels.Count);
    }

    [Theory]
    [InlineData("dataa = \"/x\"", "dataa is not a setting")]
    [InlineData("[server]\nvmm = \"qemu\"", "vmm is not a setting of server")]
    [InlineData("[agent]\ndatabase = \"postgres://h/d\"", "database is not a setting of agent")]
    [InlineData("[servers]\nlisten = \"1.2.3.4:5\"", "servers is not a setting")]
    [InlineData("server = 1", "server has to be a table")]
    [InlineData("data = [\"/a\", \"/b\"]", "data has to be a text")]
    [InlineData("data = \"\"", "data has to be a text")]
    [InlineData("[[agent]]\nzone = \"a\"", "agent has to be a table")]
    [InlineData("[agent]\nlabel = { a = { b = 1 } }", "label has to be a table or a list of texts")]
    [InlineData("data = 2026-01-01", "data has to be a text")]
    [InlineData("data = \"/a\"\ndata = \"/b\"", "is not TOML")]
    [InlineData("data = /a", "is not TOML")]
    public void What_the_file_says_wrong_is_refused_in_one_line_that_names_it(string text, string message)
    {
        Assert.False(SettingsFile.TryParse(text, "/etc/ravel/ravel.toml", out _, out var error));

        Assert.Contains("/etc/ravel/ravel.toml", error, StringComparison.Ordinal);
        Assert.Contains(message, error, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error);
    }

    [Theory]
    [InlineData("[server]\ndatabase = \"postgres://u:hunter2@h/d\"\ndatabase = \"postgres://u:hunter2@h/d\"", "line 3, column 1")]
    [InlineData("[server]\ndatabase = \"postgres://u:hunter2@h/d", "line 2")]
    [InlineData("[server]\ndatabase = [\"hunter2\", \"hunter2\"]", "database")]
    public void A_mistake_is_told_by_its_place_and_not_by_the_secret_that_is_there(string text, string place)
    {
        Assert.False(SettingsFile.TryParse(text, "ravel.toml", out _, out var error));

        Assert.Contains(place, error, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_was_named_has_to_be_there()
    {
        Assert.False(SettingsFile.TryLoad("/nonexistent/ravel.toml", out _, out var error));
        Assert.Contains("/nonexistent/ravel.toml", error, StringComparison.Ordinal);
    }

    [Fact]
    public void The_join_token_has_a_variable_that_is_not_the_apis()
    {
        var token = Ravel.Trust.JoinToken.New(new byte[32]);
        _environment["RAVEL_TOKEN"] = "the API's";
        _environment["RAVEL_JOIN_TOKEN"] = token.Text;

        Assert.Equal(token.Secret, Agent().Cluster.Token!.Secret);
    }

    [Theory]
    [InlineData("--listen", "10.0.0.1")]
    [InlineData("--advertise", "http://10.0.0.1:7719")]
    [InlineData("--join", "https://user@10.0.0.1:7718")]
    [InlineData("--token", "rvj_short")]
    [InlineData("--label", "novalue")]
    [InlineData("--database", "postgres://h/d")]
    [InlineData("--cpu-overcommit", "0")]
    [InlineData("--bogus", "1")]
    public void What_an_agent_cannot_run_with_is_refused_by_name(string option, string value)
    {
        Assert.False(AgentCommandOptions.TryParse([option, value], Sources, out _, out var error));
        Assert.StartsWith("raveld agent: ", error, StringComparison.Ordinal);
        Assert.Contains(option, error, StringComparison.Ordinal);
    }

    private SettingSources Sources => new(name => _environment.GetValueOrDefault(name), _file);

    private ServerCommandOptions Server(params string[] args) =>
        ServerCommandOptions.TryParse(args, Sources, out var options, out var error) ? options : throw new InvalidOperationException(error);

    private AgentCommandOptions Agent(params string[] args) =>
        AgentCommandOptions.TryParse(args, Sources, out var options, out var error) ? options : throw new InvalidOperationException(error);

    private RunOptions Run(params string[] args) =>
        RunOptions.TryParse(args, Sources, out var options, out var error) ? options : throw new InvalidOperationException(error);

    private static SettingsFile File(string text) =>
        SettingsFile.TryParse(text, "ravel.toml", out var file, out var error) ? file : throw new InvalidOperationException(error);
}
