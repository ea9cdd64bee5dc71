using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Ravel.Contracts.Api;
using Ravel.Testing.Cli;
using Ravel.Testing.Needs;

namespace Ravel.Integration.Cli;

public sealed class MachineCommandTests : IAsyncLifetime
{
    private static readonly Machine Web = SampleMachines.Started("abc00000000001", "web");
    private static readonly Machine Job = SampleMachines.Exited("abc00000000002", "job", 7);
    private FakeApi _api = null!;

    public async ValueTask InitializeAsync()
    {
        _api = await FakeApi.StartAsync();
        _api.OnMachines(Web, Job);
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task Ps_shows_what_runs_and_with_all_what_has_ended()
    {
        var running = await _api.RavelAsync("ps");
        var all = await _api.RavelAsync("ps", "-a");

        Assert.Equal((0, ""), (running.ExitCode, running.Error));
        Assert.StartsWith("ID               NAME   IMAGE     COMMAND   STATE", running.Output);
        Assert.Contains("abc00000000001   web", running.Output);
        Assert.DoesNotContain("job", running.Output);
        Assert.Contains("Exited (7) ", all.Output);
        Assert.DoesNotContain("\e", all.Output);
    }

    [Fact]
    public async Task Ps_as_json_is_one_document_of_the_api()
    {
        var result = await _api.RavelAsync("ps", "-a", "--json");

        var machines = JsonSerializer.Deserialize(result.Output, ApiJson.Default.IReadOnlyListMachine)!;
        Assert.Equal([Web.Id, Job.Id], machines.Select(machine => machine.Id));
    }

    [Fact]
    public async Task Followed_events_of_one_millisecond_stay_in_order_and_go_on_behind_the_newest()
    {
        MachineEvent Event(string id, string type) => new() { Id = id, Type = type, Status = "started", Source = "ravel", Timestamp = 1_700_000_000_000 };
        // Newest first, as the server lists them.
        _api.On($"GET {FakeApi.PathOf(Web)}/events", http => http.Request.Query.ContainsKey("follow")
            ? http.Response.WriteAsync(JsonSerializer.Serialize(Event("3", "exit"), ApiJson.Default.MachineEvent) + "\n")
            : FakeApi.WriteAsync(http, (IReadOnlyList<MachineEvent>)[Event("2", "start"), Event("1", "launch")], ApiJson.Default.IReadOnlyListMachineEvent));

        var result = await _api.RavelAsync("events", "-f", "web", "--json");

        Assert.Equal(
            ["1", "2", "3"],
            result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonSerializer.Deserialize(line, ApiJson.Default.MachineEvent)!.Id));
        Assert.Contains(_api.Requests, request => request.Query.Contains("since=2", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("", true)]
    [InlineData("1", false)]
    public async Task Colours_are_for_terminals_that_want_them(string noColor, bool expected)
    {
        Need.Program("script");
        _api.Environment["NO_COLOR"] = noColor;

        using var process = RavelProcess.StartProgram("script", _api.Environment, "-qec", $"'{RavelProcess.Binary}' ps", "/dev/null");
        var result = await process.WaitAsync();

        Assert.Equal(0, result.ExitCode);
        Assert.Contains("web", result.Output);
        Assert.Equal(expected, result.Output.Contains("\e[32mUp "));
    }

    [Fact]
    public async Task An_ambiguous_prefix_is_one_line_with_the_candidates()
    {
        var result = await _api.RavelAsync("logs", "abc");

        Assert.Equal(1, result.ExitCode);
        Assert.Equal(
            "ravel: abc: several machines match: abc00000000001 (default/web), abc00000000002 (default/job); give more of the id, or APP/NAME\n",
            result.Error);
    }

    [Fact]
    public async Task Logs_go_where_the_workload_wrote_them_byte_for_byte()
    {
        _api.OnLines(
            $"GET {FakeApi.PathOf(Web)}/logs",
            ApiJson.Default.LogLine,
            Line("stdout", "out\n"),
            Line("stderr", "err\n"),
            new LogLine { Timestamp = "2026-03-04T12:00:00.000000003Z", Stream = "stdout", Data = [0xff, 0x00, 0x0a], InstanceId = "I" },
            Line("stdout", "no newline"));
        using var process = _api.StartRavel("logs", "--tail", "5", "--since", "2026-01-01T00:00:00Z", "web");

        var result = await process.WaitAsync();

        Assert.Equal((0, "out\n\uFFFD\0\nno newline", "err\n"), (result.ExitCode, result.Output, result.Error));
        Assert.Equal("?tail=5&since=2026-01-01T00%3A00%3A00.0000000Z", _api.Requests.Last().Query);
    }

    [Fact]
    public async Task Logs_can_carry_timestamps_or_be_json_lines()
    {
        _api.OnLines($"GET {FakeApi.PathOf(Web)}/logs", ApiJson.Default.LogLine, Line("stdout", "a"), Line("stdout", "b\n"), Line("stdout", "c\n"));

        var stamped = await _api.RavelAsync("logs", "-t", "web");
        var json = await _api.RavelAsync("logs", "--json", "web");

        Assert.Equal("2026-03-04T12:00:00.000000001Z ab\n2026-03-04T12:00:00.000000001Z c\n", stamped.Output);
        Assert.Equal(["a", "b\n", "c\n"], json.Output.TrimEnd().Split('\n').Select(line => JsonSerializer.Deserialize(line, ApiJson.Default.LogLine)!.Message));
    }

    [Fact]
    public async Task Following_ends_with_130_on_ctrl_c()
    {
        _api.On($"GET {FakeApi.PathOf(Web)}/logs", http => NeverEndingAsync(http, Line("stdout", "first\n")));
        using var process = _api.StartRavel("logs", "-f", "web");
        await process.UntilPrintedAsync("first");

        await process.SignalAsync("INT");
        var result = await process.WaitAsync();

        Assert.Equal((130, "first\n", ""), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public async Task Following_ends_when_the_reader_of_the_pipe_has_gone()
    {
        var more = new SemaphoreSlim(0);
        _api.On($"GET {FakeApi.PathOf(Web)}/logs", async http =>
        {
            var json = JsonSerializer.Serialize(Line("stdout", "line\n"), ApiJson.Default.LogLine) + "\n";
            await http.Response.WriteAsync(json);
            await http.Response.Body.FlushAsync();
            await more.WaitAsync(http.RequestAborted);
            await http.Response.WriteAsync(json);
            await http.Response.Body.FlushAsync();
            await Task.Delay(Timeout.Infinite, http.RequestAborted);
        });
        using var process = _api.StartRavel("logs", "-f", "web");
        await process.UntilPrintedAsync("line");

        process.CloseOutput();
        more.Release();
        var result = await process.WaitAsync();

        Assert.Equal((141, ""), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task Stop_waits_until_the_machine_has_stopped()
    {
        var stopped = Web with { State = MachineStates.Stopped, Exit = new MachineExit(0, null, false, true, SampleMachines.Now) };
        _api.OnJson($"POST {FakeApi.PathOf(Web)}/stop", new Acknowledgement(true), ApiJson.Default.Acknowledgement);
        _api.On($"GET {FakeApi.PathOf(Web)}/wait", async http =>
        {
            _api.OnMachines(stopped);
            await FakeApi.WriteAsync(http, new Acknowledgement(true), ApiJson.Default.Acknowledgement);
        });

        var result = await _api.RavelAsync("stop", "-t", "30", "web");

        Assert.Equal((0, "web\n", ""), (result.ExitCode, result.Output, result.Error));
        Assert.Equal("""{"timeout":"30"}""", _api.Requests.Single(request => request.Path.EndsWith("/stop", StringComparison.Ordinal)).Body);
    }

    [Fact]
    public async Task One_machine_that_fails_does_not_keep_the_others()
    {
        _api.OnJson($"DELETE {FakeApi.PathOf(Job)}", new Acknowledgement(true), ApiJson.Default.Acknowledgement);
        _api.OnProblem($"DELETE {FakeApi.PathOf(Web)}", ProblemCodes.IllegalState, "Machine web is started; stop it first, or destroy it with force=true.");
        _api.OnJson($"GET {FakeApi.PathOf(Job)}", Job with { State = MachineStates.Destroyed }, ApiJson.Default.Machine);

        var result = await _api.RavelAsync("rm", "nope", "web", "job");

        Assert.Equal((1, "job\n"), (result.ExitCode, result.Output));
        Assert.Equal(
            """
            ravel: nope: no machine has this name or id; see: ravel ps -a
            ravel: web: is started; stop it first, or: ravel rm -f web

            """,
            result.Error);
    }

    [Fact]
    public async Task Wait_prints_exit_codes()
    {
        var result = await _api.RavelAsync("wait", "job");

        Assert.Equal((0, "7\n"), (result.ExitCode, result.Output));
    }

    [Fact]
    public async Task Inspect_prints_an_array_of_machines()
    {
        var result = await _api.RavelAsync("inspect", "web", "job");

        Assert.Equal(2, JsonDocument.Parse(result.Output).RootElement.GetArrayLength());
    }

    internal static LogLine Line(string stream, string message) =>
        new() { Timestamp = "2026-03-04T12:00:00.000000001Z", Stream = stream, Message = message, InstanceId = "I" };

    internal static async Task NeverEndingAsync(HttpContext http, LogLine line)
    {
        await http.Response.WriteAsync(JsonSerializer.Serialize(line, ApiJson.Default.LogLine) + "\n");
        await http.Response.Body.FlushAsync();
        await Task.Delay(Timeout.Infinite, http.RequestAborted);
    }

    [Fact]
    public async Task Events_are_followed_from_the_last_one_that_was_shown()
    {
        var machine = SampleMachines.Started("abc00000000001", "web");
        _api.OnMachines(machine);
        MachineEvent Event(string id, string type, int secondsAgo) => new()
        {
            Id = id,
            Type = type,
            Status = MachineStates.Started,
            Source = "user",
            Timestamp = TimeProvider.System.GetUtcNow().AddSeconds(-secondsAgo).ToUnixTimeMilliseconds(),
        };
        var old = Event("7", "launch", 3600);
        var recent = Event("8", "start", 5);
        _api.On($"GET {FakeApi.PathOf(machine)}/events", async http =>
        {
            if (http.Request.Query["follow"] != "true")
                await FakeApi.WriteAsync(http, new[] { recent, old }, ApiJson.Default.IReadOnlyListMachineEvent);
            else
                await http.Response.WriteAsync(JsonSerializer.Serialize(Event("9", "stop", 0), ApiJson.Default.MachineEvent) + "\n");
        });

        var followed = await _api.RavelAsync("events", "-f", "--since", "10m", "web");
        var all = await _api.RavelAsync("events", "--follow", "--json", "web");

        Assert.Equal((0, ""), (followed.ExitCode, followed.Error));
        Assert.Equal(["start", "stop"], followed.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]));
        Assert.Equal(["7", "8", "9"], all.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement.GetProperty("id").GetString()));
        Assert.Contains(_api.Requests, request => request.Query.Contains("since=8") && request.Query.Contains("follow=true"));
    }

    [Fact]
    public async Task Wait_takes_a_state_and_says_when_it_will_not_come()
    {
        var asked = 0;
        var starting = SampleMachines.Started("abc00000000001", "web") with { State = MachineStates.Starting };
        var failed = SampleMachines.Failed("abc00000000002", "bad", "image-not-found", "no such image");
        _api.OnMachines(starting, failed);
        _api.On($"GET {FakeApi.PathOf(starting)}/wait", http => FakeApi.WriteAsync(http, new Acknowledgement(true), ApiJson.Default.Acknowledgement));
        _api.On($"GET {FakeApi.PathOf(starting)}", http => FakeApi.WriteAsync(
            http, Interlocked.Increment(ref asked) == 1 ? starting : starting with { State = MachineStates.Started }, ApiJson.Default.Machine));

        var met = await _api.RavelAsync("wait", "--state", "started", "web");
        var never = await _api.RavelAsync("wait", "--state", "started", "bad");
        var unknown = await _api.RavelAsync("wait", "--state", "happy", "web");

        Assert.Equal((0, "started\n"), (met.ExitCode, met.Output));
        Assert.Contains(_api.Requests, request => request.Path.EndsWith("/wait") && request.Query.Contains("state=started"));
        Assert.Equal((1, "ravel: bad: is failed and will not be started by itself; see: ravel events bad\n"), (never.ExitCode, never.Error));
        Assert.NotEqual(0, unknown.ExitCode);
        Assert.Contains("'happy' is none of started", unknown.Error);
    }

    [Fact]
    public async Task Update_changes_what_is_given_and_keeps_the_rest()
    {
        var machine = Job with
        {
            Config = new MachineConfig
            {
                Image = "nginx:1",
                Guest = new GuestSize { Cpus = 2, DiskMb = 512 },
                Env = new Dictionary<string, string> { ["KEPT"] = "1", ["GONE"] = "2" },
                Init = new InitConfig { Cmd = ["serve"] },
            },
        };
        _api.OnMachines(machine);
        _api.OnJson($"POST {FakeApi.PathOf(machine)}", machine, ApiJson.Default.Machine);

        var result = await _api.RavelAsync("update", "--memory", "1g", "-e", "NEW=3", "--env-rm", "GONE", "--image", "nginx:2", "job");
        var nothing = await _api.RavelAsync("update", "job");

        Assert.Equal((0, "job\n", ""), (result.ExitCode, result.Output, result.Error));
        var sent = JsonSerializer.Deserialize(Assert.Single(_api.Requests, request => request.Method == "POST").Body, ApiJson.Default.CreateMachineRequest)!.Config;
        Assert.Equal(("nginx:2", 2, 1024, 512), (sent.Image, sent.Guest!.Cpus, sent.Guest.MemoryMb, sent.Guest.DiskMb));
        Assert.Equal(["KEPT=1", "NEW=3"], sent.Env!.Select(variable => $"{variable.Key}={variable.Value}").Order());
        Assert.Equal(["serve"], sent.Init!.Cmd!);
        Assert.Contains("nothing is to be changed", nothing.Error);
    }
}
