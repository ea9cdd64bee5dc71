using System.CommandLine;
using System.Text.Json;
using Ravel.Cli.Connection;
using Ravel.Cli.Errors;
using Ravel.Cli.Machines;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Unit.Cli;

public sealed class RunOptionsTests : IDisposable
{
    private readonly TestTerminal _terminal = new();
    private readonly string _file = Path.GetTempFileName();

    [Fact]
    public void A_bare_image_asks_for_nothing_else() =>
        Assert.Equal("""{"config":{"image":"img","auto_destroy":false},"skip_launch":false}""", Json("img"));

    [Fact]
    public void Every_option_lands_in_the_request()
    {
        var request = Request(
            "--name", "web", "--cpus", "2", "--memory", "1g", "--disk", "2g", "-e", "A=b", "-e", "HOME", "-p", "8080:80", "--rm", "--pull", "always",
            "--restart", "on-failure:3", "--user", "1:2", "--workdir", "/srv", "--stop-signal", "INT", "--stop-timeout", "1m", "-l", "k=v",
            "img", "ls", "-l");

        Assert.Equal("web", request.Name);
        var config = request.Config;
        Assert.Equal("img", config.Image);
        Assert.Equal(new GuestSize { Cpus = 2, MemoryMb = 1024, DiskMb = 2048 }, config.Guest);
        Assert.Equal([new("A", "b"), new("HOME", "/home/me")], config.Env!);
        Assert.Equal(new PortConfig { Protocol = "tcp", HostPort = 8080, GuestPort = 80 }, Assert.Single(config.PublishedPorts!));
        Assert.True(config.AutoDestroy);
        Assert.Equal("always", config.PullPolicy);
        Assert.Equal(new RestartConfig { Policy = "on-failure", MaxRetries = 3 }, config.Restart);
        Assert.Equal(("1:2", "/srv"), (config.Init!.User, config.Init.WorkingDir));
        Assert.Equal(["ls", "-l"], config.Init.Cmd!);
        Assert.Null(config.Init.Entrypoint);
        Assert.Equal(new StopConfig { Signal = "INT", Timeout = 60 }, config.StopConfig);
        Assert.Equal([new("k", "v")], config.Metadata!);
    }

    [Fact]
    public void Another_entrypoint_drops_the_images_command()
    {
        var init = Request("--entrypoint", "/bin/sh", "img").Config.Init!;
        Assert.Equal(["/bin/sh"], init.Entrypoint!);
        Assert.Empty(init.Cmd!);

        init = Request("--entrypoint", "/bin/sh", "img", "-c", "x").Config.Init!;
        Assert.Equal(["-c", "x"], init.Cmd!);
    }

    [Fact]
    public void An_empty_entrypoint_removes_the_images() => Assert.Empty(Request("--entrypoint", "", "img", "ls").Config.Init!.Entrypoint!);

    [Fact]
    public void Variables_of_a_file_come_before_those_of_options()
    {
        File.WriteAllText(_file, "# comment\n\nA=file\n  B=\"quoted stays\"\nHOME\nUNSET\n");

        var env = Request("--env-file", _file, "-e", "A=option", "img").Config.Env!;

        Assert.Equal([new("A", "option"), new("B", "\"quoted stays\""), new("HOME", "/home/me")], env);
    }

    [Fact]
    public void A_part_of_a_cpu_is_a_ceiling_and_limits_are_bytes()
    {
        var guest = Request("--cpus", "1.5", "--cpu-shares", "2048", "--disk-bps", "10m", "--disk-iops", "500", "--net-bps", "0", "img").Config.Guest!;

        Assert.Equal(new GuestSize { Cpus = 2, CpuLimit = 1.5, CpuWeight = 200, DiskBps = 10 << 20, DiskIops = 500 }, guest);
        Assert.Null(Request("--cpus", "2", "img").Config.Guest!.CpuLimit);
    }

    [Fact]
    public void A_file_of_variables_that_is_missing_is_a_usage_error() =>
        Assert.Equal(ExitCodes.Usage, Assert.Throws<CliException>(() => Request("--env-file", "/nonexistent", "img")).ExitCode);

    [Theory]
    [InlineData("--memory", "lots")]
    [InlineData("--cpus", "0")]
    [InlineData("--cpus", "33")]
    [InlineData("--cpu-shares", "1")]
    [InlineData("--disk-bps", "1k")]
    [InlineData("--disk-iops", "9")]
    [InlineData("--net-bps", "8g")]
    [InlineData("-p", "80:x")]
    [InlineData("--pull", "sometimes")]
    [InlineData("--restart", "maybe")]
    public void A_bad_value_is_an_error_that_names_its_option(string option, string value)
    {
        var (_, result) = Parse([option, value, "img"]);

        var error = Assert.Single(result.Errors);
        Assert.Contains($"'{value}'", error.Message);
        Assert.StartsWith("--", error.Message);
    }

    public void Dispose()
    {
        _terminal.Dispose();
        File.Delete(_file);
    }

    private string Json(params string[] arguments) => JsonSerializer.Serialize(Request(arguments), ApiJson.Default.CreateMachineRequest);

    private CreateMachineRequest Request(params string[] arguments)
    {
        var (options, result) = Parse(arguments);
        Assert.Empty(result.Errors);
        using var interrupts = new Interrupts();
        var around = new Surroundings(name => name == "HOME" ? "/home/me" : null, IsRoot: false, "/home/me");
        using var session = new Session(result, _terminal.Terminal, around, interrupts, TimeProvider.System);
        return options.Request(session, skipLaunch: false);
    }

    private static (RunOptions Options, ParseResult Result) Parse(string[] arguments)
    {
        var options = new RunOptions();
        var run = new CliCommand("run", "") { PassesThrough = true };
        options.AddTo(run);
        var root = new CliCommand("ravel", "");
        root.Subcommands.Add(run);
        foreach (var option in GlobalOptions.All)
            root.Options.Add(option);
        return (options, root.Parse(ArgumentScan.Prepare(root, ["run", .. arguments])));
    }
}
