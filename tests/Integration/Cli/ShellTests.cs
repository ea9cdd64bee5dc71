using Ravel.Linux.Processes;
using Ravel.Testing.Cli;

namespace Ravel.Integration.Cli;

public sealed class ShellTests : IAsyncLifetime
{
    private FakeApi _api = null!;

    public async ValueTask InitializeAsync()
    {
        _api = await FakeApi.StartAsync();
        _api.OnMachines(SampleMachines.Started("abc00000000001", "web"), SampleMachines.Started("abc00000000002", "worker"));
        _api.OnJson(
            "GET /v1/images",
            new Ravel.Contracts.Api.ImageList([new() { Digest = "sha256:1", References = ["localhost:5000/app:1", "nginx:1"], Size = 1, CreatedAt = SampleMachines.Now }]),
            Ravel.Contracts.Api.ApiJson.Default.ImageList);
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task The_script_for_bash_parses()
    {
        var script = await _api.RavelAsync("completion", "bash");

        var check = await CommandRunner.RunAsync("bash", ["-n"], script.Output);

        Assert.Equal((0, "", ""), (check.ExitCode, check.Output, check.Error));
    }

    [Theory]
    [InlineData("ravel st", "start stop")]
    [InlineData("ravel logs w", "web worker")]
    [InlineData("ravel rm -f web wo", "worker")]
    [InlineData("ravel run ng", "nginx:1")]
    [InlineData("ravel run localhost:5000/a", "5000/app:1")]
    [InlineData("ravel run --pull=n", "")]
    [InlineData("ravel run --pull n", "never")]
    public async Task Bash_completes_a_line(string line, string expected)
    {
        var script = await _api.RavelAsync("completion", "bash");
        // COMP_WORDS as readline makes them: cut at blanks, and at ':' and '=' as words of their own.
        var program = $$"""
            {{script.Output}}
            PATH="{{Path.GetDirectoryName(RavelProcess.Binary)}}:$PATH"
            compopt() { :; }
            COMP_LINE='{{line}}'
            read -ra COMP_WORDS <<< "$(sed 's/[:=]/ & /g' <<< "$COMP_LINE")"
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _ravel
            echo "${COMPREPLY[*]}"
            """;
        using var process = RavelProcess.StartProgram("bash", _api.Environment, "-c", program);
        process.Input.Close();

        var result = await process.WaitAsync();

        Assert.Equal((0, expected + "\n", ""), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public async Task Completion_is_silent_when_the_server_is_not_there()
    {
        _api.Environment["RAVEL_SERVER"] = "http://127.0.0.1:1";

        var result = await _api.RavelAsync("__complete", "logs", "");

        Assert.Equal((0, "", ""), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public async Task Version_needs_no_server()
    {
        _api.Environment["RAVEL_SERVER"] = "http://127.0.0.1:1";

        var plain = await _api.RavelAsync("version");
        var json = await _api.RavelAsync("version", "--json");

        Assert.Matches("^ravel [0-9]+\\.[0-9]+\\.[0-9]+\n$", plain.Output);
        Assert.Matches("^\\{\n  \"version\": \"[0-9.]+\"\n\\}\n$", json.Output);
    }

    [Fact]
    public async Task Output_that_cannot_be_written_is_an_error_in_one_line()
    {
        using var process = RavelProcess.StartProgram("sh", _api.Environment, "-c", "\"$0\" version > /dev/full", RavelProcess.Binary);

        var result = await process.WaitAsync();

        Assert.Equal((1, "ravel: output: cannot be written: No space left on device\n"), (result.ExitCode, System.Text.RegularExpressions.Regex.Replace(result.Error, " : '.*'", "")));
    }

    [Theory]
    [InlineData("help run")]
    [InlineData("run --help")]
    [InlineData("run -h")]
    [InlineData("run --help img")]
    public async Task Help_shows_usage_examples_and_options(string line)
    {
        var result = await _api.RavelAsync(line.Split(' '));

        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        Assert.Contains("Usage:  ravel run [OPTIONS] IMAGE [COMMAND [ARG...]]", result.Output);
        Assert.Contains("Examples:", result.Output);
        Assert.Contains("--stop-timeout TIME", result.Output);
    }

    [Theory]
    [InlineData("run", 125, "ravel: run: IMAGE is missing; see: ravel run --help\n")]
    [InlineData("stop", 2, "ravel: stop: MACHINE is missing; see: ravel stop --help\n")]
    [InlineData("run --name", 125, "ravel: run: --name needs a value (NAME); see: ravel run --help\n")]
    [InlineData("ps extra", 2, "ravel: ps: Unrecognized command or argument 'extra'; see: ravel ps --help\n")]
    [InlineData("run --memory lots img", 125, "ravel: run: --memory: 'lots' is not a size; write MiB, or a number with m or g, e.g. 512 or 1g; see: ravel run --help\n")]
    [InlineData("completion tcsh", 2, "ravel: completion: 'tcsh' is not a shell with a script here; write bash, zsh or fish\n")]
    [InlineData("run -it img sh", 125, "ravel: run: standard input is not a terminal; leave out -t\n")]
    [InlineData("sotp web", 2, "ravel: sotp: is no command of ravel; did you mean: ravel stop\n")]
    public async Task What_is_typed_wrong_is_one_line_and_exit_code_2_or_125_where_2_may_be_the_commands(string line, int exitCode, string error)
    {
        var result = await _api.RavelAsync(line.Split(' '));

        Assert.Equal((exitCode, "", error), (result.ExitCode, result.Output, result.Error));
    }
}
