using System.Globalization;
using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.Testing.Cli;
using Ravel.Testing.Needs;

namespace Ravel.Integration.Cli;

/// <summary><c>up</c>, <c>down</c> and <c>doctor</c> with a shell script in the place of <c>raveld</c>; its API is the fake.</summary>
public sealed class UpDownTests : IAsyncLifetime
{
    private readonly string _home = Directory.CreateTempSubdirectory("ravel-up-").FullName;
    private FakeApi _api = null!;

    private string Data => Path.Combine(_home, "data");

    public async ValueTask InitializeAsync()
    {
        _api = await FakeApi.StartAsync();
        _api.OnJson("GET /v1/server", new ServerInfo { Version = "1" }, ApiJson.Default.ServerInfo);
        _api.OnMachines(SampleMachines.Started("abc00000000001", "web"));
        // As an administrator would have it: nothing but defaults.
        _api.Environment["RAVEL_SERVER"] = _api.Environment["RAVEL_TOKEN"] = _api.Environment["RAVEL_DATA"] = "";
        _api.Environment["XDG_CONFIG_HOME"] = Path.Combine(_home, "config");
        _api.Environment["RAVELD"] = Path.Combine(_home, "raveld");
        // Asked to stop, the daemon goes: its pid is in the file it wrote itself.
        _api.On("POST /v1/server/shutdown", async http =>
        {
            var client = JsonSerializer.Deserialize(await File.ReadAllBytesAsync(Path.Combine(Data, "client.json")), ApiJson.Default.ClientConfig)!;
            await FakeApi.WriteAsync(http, new Acknowledgement(true), ApiJson.Default.Acknowledgement);
            await Ravel.Linux.Processes.CommandRunner.RunAsync("sh", ["-c", "kill \"$0\"", client.Pid.ToString(CultureInfo.InvariantCulture)]);
        });
        Daemon(
            """
            echo "args: $*"
            start=$(cut -d ' ' -f 22 /proc/$$/stat)
            printf '{"server":"URL","token":"secret-token","data_directory":"%s","pid":%d,"pid_start_time":%d}' "$3" $$ "$start" > "$3/client.json.new"
            mv "$3/client.json.new" "$3/client.json"
            echo "serving"
            trap 'echo leaving; exit 0' TERM
            while :; do sleep 0.05; done
            """);
    }

    public async ValueTask DisposeAsync()
    {
        await _api.RavelAsync("down", "--data", Data);
        await _api.DisposeAsync();
        Directory.Delete(_home, recursive: true);
    }

    [Fact]
    public async Task Detached_it_returns_once_the_daemon_answers_and_the_others_find_it()
    {
        var up = await _api.RavelAsync("up", "--detach", "--data", Data, "--listen", "127.0.0.1:1", "--vmm", "qemu", "--image-limit", "50G");
        var ps = await _api.RavelAsync("ps", "-q");
        var again = await _api.RavelAsync("up", "-d", "--data", Data, "--json");
        var down = await _api.RavelAsync("down");
        var after = await _api.RavelAsync("down", "--json");

        Assert.Equal((0, "starting raveld…\n"), (up.ExitCode, up.Error));
        Assert.StartsWith($"Ravel is up at {_api.Url} (pid ", up.Output);
        Assert.Contains("ravel run IMAGE", up.Output);
        Assert.Equal($"args: run --data {Data} --listen 127.0.0.1:1 --vmm qemu --image-limit 50G\nserving\nleaving\n", await File.ReadAllTextAsync(Path.Combine(Data, "raveld.log")));
        Assert.Equal("abc00000000001\n", ps.Output);
        Assert.Equal("already-up", JsonDocument.Parse(again.Output).RootElement.GetProperty("state").GetString());
        Assert.Equal((0, $"Ravel is down (data kept in {Data}).\n"), (down.ExitCode, down.Output));
        Assert.Equal("not-up", JsonDocument.Parse(after.Output).RootElement.GetProperty("state").GetString());
    }

    [Fact]
    public async Task The_log_and_the_data_directory_are_their_owners_alone()
    {
        await _api.RavelAsync("up", "-d", "--data", Data);

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(Data));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(Data, "raveld.log")));
    }

    [Fact]
    public async Task In_the_foreground_it_shows_the_log_and_ctrl_c_is_down()
    {
        using var process = _api.StartRavel("up", "--data", Data);
        await process.UntilPrintedAsync("serving");

        await process.SignalAsync("INT");
        var result = await process.WaitAsync();

        Assert.Equal(0, result.ExitCode);
        Assert.Contains("stopping the machines, then Ravel", result.Error);
        Assert.EndsWith("leaving\n", result.Error);
        Assert.Single(_api.Requests, request => request.Path == "/v1/server/shutdown");
    }

    [Fact]
    public async Task Interrupted_before_the_daemon_answers_it_leaves_none_behind()
    {
        Daemon("trap 'echo leaving; exit 0' TERM; echo waiting; while :; do sleep 0.05; done");
        using var process = _api.StartRavel("up", "--detach", "--data", Data);
        var log = Path.Combine(Data, "raveld.log");
        using (var deadline = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken))
        {
            deadline.CancelAfter(TimeSpan.FromSeconds(60));
            while (!File.Exists(log) || await File.ReadAllTextAsync(log, deadline.Token) != "waiting\n")
                await Task.Delay(10, deadline.Token);
        }

        await process.SignalAsync("INT");
        var result = await process.WaitAsync();

        Assert.Equal(130, result.ExitCode);
        Assert.Equal("waiting\nleaving\n", await File.ReadAllTextAsync(log));
    }

    [Fact]
    public async Task A_daemon_that_ends_at_once_is_reported_with_its_last_words()
    {
        Daemon("echo first; echo 'raveld: nftables: not permitted; run as root' >&2; exit 3");

        var result = await _api.RavelAsync("up", "--detach", "--data", Data);

        Assert.Equal((1, ""), (result.ExitCode, result.Output));
        Assert.Equal(
            $"starting raveld…\nravel: raveld: ended with 3: raveld: nftables: not permitted; run as root; see {Data}/raveld.log and: ravel doctor\n",
            result.Error);
    }

    [Fact]
    public async Task A_daemon_that_runs_but_does_not_answer_is_said_with_a_remedy()
    {
        await _api.RavelAsync("up", "--detach", "--data", Data);
        var client = Path.Combine(Data, "client.json");
        var text = await File.ReadAllTextAsync(client);
        await File.WriteAllTextAsync(client, text.Replace(_api.Url, "http://127.0.0.1:1"));

        var down = await _api.RavelAsync("down", "--data", Data);
        var up = await _api.RavelAsync("up", "--data", Data);
        await File.WriteAllTextAsync(client, text);

        Assert.Equal((1, 1), (down.ExitCode, up.ExitCode));
        Assert.Contains("but does not answer (http://127.0.0.1:1 cannot be reached); to end it alone, leaving its machines: kill ", down.Error);
        Assert.Contains("http://127.0.0.1:1 does not answer; see ", up.Error);
    }

    [Fact]
    public async Task A_missing_daemon_is_said_before_anything_is_made()
    {
        _api.Environment["RAVELD"] = "/nonexistent/raveld";

        var result = await _api.RavelAsync("up", "--data", Data);

        Assert.Equal(1, result.ExitCode);
        Assert.Equal("ravel: raveld: RAVELD names /nonexistent/raveld, which does not exist; set it to the file, or unset it\n", result.Error);
        Assert.False(Directory.Exists(Data));
    }

    [Fact]
    public async Task The_doctor_exits_with_1_when_something_fails()
    {
        Daemon("""[ "$*" = "doctor --json" ] || exit 9; echo '{"checks":[{"subject":"kernel","status":"fail","message":"none","remedy":"install one"}]}'; exit 1""");

        var shown = await _api.RavelAsync("doctor");
        var json = await _api.RavelAsync("doctor", "--json");

        Assert.Equal(1, shown.ExitCode);
        Assert.StartsWith("✗ kernel  none\n          → install one\n", shown.Output);
        Assert.Equal((1, "fail"), (json.ExitCode, JsonDocument.Parse(json.Output).RootElement.GetProperty("checks")[0].GetProperty("status").GetString()));
    }

    [Theory]
    [InlineData("server", "server --data /d --database postgres://h/d --listen 10.0.0.1:1", "--listen", "10.0.0.1:1", "--data", "/d", "--database", "postgres://h/d")]
    [InlineData("agent", "agent --token rvj_x --join https://a:1 --label a=b --label c=", "--join", "https://a:1", "--token", "rvj_x", "--label", "a=b", "--label", "c=")]
    public async Task Server_and_agent_are_the_daemon_with_the_options_given(string role, string told, params string[] options)
    {
        Daemon("echo \"$*\"; echo complaint >&2; exit 7");

        var result = await _api.RavelAsync([role, .. options]);

        Assert.Equal((7, told + "\n", "complaint\n"), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public async Task A_server_that_is_told_to_end_tells_the_daemon()
    {
        Daemon("trap 'echo leaving; exit 3' TERM; echo serving; while :; do sleep 0.05; done");
        using var server = _api.StartRavel("server");
        await server.UntilPrintedAsync("serving\n");

        await server.SignalAsync("TERM");
        var result = await server.WaitAsync();

        Assert.Equal((3, "serving\nleaving\n"), (result.ExitCode, result.Output));
    }

    private void Daemon(string script) => ProgramFile.Write(Path.Combine(_home, "raveld"), script.Replace("URL", _api.Url));
}
