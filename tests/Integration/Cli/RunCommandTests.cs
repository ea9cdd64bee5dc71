using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Ravel.Contracts.Api;
using Ravel.Testing.Cli;

namespace Ravel.Integration.Cli;

public sealed class RunCommandTests : IAsyncLifetime
{
    private const string Create = "POST /v1/apps/default/machines";
    private static readonly Machine Running = SampleMachines.Started("abc00000000001", "job");
    private static readonly Image Image = new() { Digest = "sha256:abc", References = ["img"], Size = 1, CreatedAt = SampleMachines.Now };
    private FakeApi _api = null!;

    public async ValueTask InitializeAsync()
    {
        _api = await FakeApi.StartAsync();
        _api.OnLines("POST /v1/images/pull", ApiJson.Default.PullProgress, new PullProgress { Phase = "pull" }, new PullProgress { Image = Image });
        _api.OnJson(Create, Running, ApiJson.Default.Machine);
        _api.OnMachines(Running);
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(126)]
    [InlineData(127)]
    [InlineData(137)]
    public async Task Attached_it_shows_the_output_and_ends_with_the_workloads_code(int code)
    {
        Ends(SampleMachines.Exited(Running.Id.Value, "job", code));
        Logs(MachineCommandTests.Line("stdout", "out\n"), MachineCommandTests.Line("stderr", "err\n"));

        var result = await _api.RavelAsync("run", "img", "sh", "-c", $"exit {code}");

        Assert.Equal((code, "out\n", "err\n"), (result.ExitCode, result.Output, result.Error));
        Assert.Equal(["sh", "-c", $"exit {code}"], Created().Config.Init!.Cmd!);
    }

    [Fact]
    public async Task A_machine_that_could_not_run_is_125_with_its_problem()
    {
        Ends(SampleMachines.Failed(Running.Id.Value, "job", ProblemCodes.VmmFailed, "QEMU ended with 1."));
        Logs();

        var result = await _api.RavelAsync("run", "img");

        Assert.Equal((125, "", "ravel: job: QEMU ended with 1; see: ravel doctor\n"), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public async Task An_image_that_cannot_be_pulled_is_125_and_makes_no_machine()
    {
        _api.OnLines(
            "POST /v1/images/pull",
            ApiJson.Default.PullProgress,
            new PullProgress { Problem = new Problem { Title = "t", Status = 404, Code = ProblemCodes.ImageNotFound, Detail = "The registry has no img:latest." } });

        var result = await _api.RavelAsync("run", "img");

        Assert.Equal((125, "ravel: img: The registry has no img:latest; check its name and tag\n"), (result.ExitCode, result.Error));
        Assert.DoesNotContain(_api.Requests, request => request.Path.EndsWith("/machines", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Detached_it_prints_the_id_once_the_machine_has_started()
    {
        var result = await _api.RavelAsync("run", "-d", "--name", "job", "-p", "8080:80", "img");

        Assert.Equal((0, "abc00000000001\n", ""), (result.ExitCode, result.Output, result.Error));
        Assert.Equal(8080, Assert.Single(Created().Config.PublishedPorts!).HostPort);
    }

    [Fact]
    public async Task A_machine_with_a_terminal_is_not_attached_to_a_pipe()
    {
        _api.OnMachines(Running with { Config = Running.Config with { Init = new InitConfig { Stdin = true, Tty = true } } });

        var result = await _api.RavelAsync("attach", "job");

        Assert.Equal(
            (125, "ravel: attach: standard input is not a terminal; attach from one, or only watch: ravel logs -f job\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task The_app_is_made_when_it_is_not_there()
    {
        _api.OnProblem(Create, ProblemCodes.AppNotFound, "There is no app default.");
        _api.On("POST /v1/apps", async http =>
        {
            _api.OnJson(Create, Running, ApiJson.Default.Machine);
            await FakeApi.ProblemAsync(http, ProblemCodes.NameTaken, "Another was faster.");
        });

        var result = await _api.RavelAsync("run", "-d", "img");

        Assert.Equal((0, ""), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task The_first_ctrl_c_stops_the_second_kills_and_the_code_is_the_workloads()
    {
        var over = new TaskCompletionSource();
        _api.OnJson($"POST {FakeApi.PathOf(Running)}/stop", new Acknowledgement(true), ApiJson.Default.Acknowledgement);
        _api.On($"POST {FakeApi.PathOf(Running)}/signal", async http =>
        {
            _api.OnMachines(SampleMachines.Exited(Running.Id.Value, "job", 137, requested: true));
            await FakeApi.WriteAsync(http, new Acknowledgement(true), ApiJson.Default.Acknowledgement);
            over.SetResult();
        });
        _api.On($"GET {FakeApi.PathOf(Running)}/wait", async http =>
        {
            await over.Task.WaitAsync(http.RequestAborted);
            await FakeApi.WriteAsync(http, new Acknowledgement(true), ApiJson.Default.Acknowledgement);
        });
        _api.On($"GET {FakeApi.PathOf(Running)}/logs", async http =>
        {
            await http.Response.WriteAsync(
                JsonSerializer.Serialize(MachineCommandTests.Line("stdout", "up\n"), ApiJson.Default.LogLine) + "\n");
            await http.Response.Body.FlushAsync();
            await over.Task.WaitAsync(http.RequestAborted);
        });
        using var process = _api.StartRavel("run", "img");
        await process.UntilPrintedAsync("up");

        await process.SignalAsync("INT");
        await process.UntilPrintedAsync("ravel: job: stopping; once more to kill it");
        await process.SignalAsync("INT");
        var result = await process.WaitAsync();

        Assert.Equal(137, result.ExitCode);
        Assert.Equal("""{"signal":"SIGKILL"}""", _api.Requests.Single(request => request.Path.EndsWith("/signal", StringComparison.Ordinal)).Body);
        Assert.Single(_api.Requests, request => request.Path.EndsWith("/stop", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_log_that_breaks_off_is_taken_up_again_without_doubling_lines()
    {
        var first = MachineCommandTests.Line("stdout", "one\n");
        var second = first with { Timestamp = "2026-03-04T12:00:01.000000000Z", Message = "two\n" };
        var opened = 0;
        var over = new TaskCompletionSource();
        _api.On($"GET {FakeApi.PathOf(Running)}/logs", async http =>
        {
            LogLine[] lines = Interlocked.Increment(ref opened) == 1 ? [first] : [first, second];
            foreach (var line in lines)
                await http.Response.WriteAsync(JsonSerializer.Serialize(line, ApiJson.Default.LogLine) + "\n");
            if (lines.Length == 2)
                over.TrySetResult();
        });
        _api.On($"GET {FakeApi.PathOf(Running)}/wait", async http =>
        {
            await over.Task.WaitAsync(http.RequestAborted);
            _api.OnMachines(SampleMachines.Exited(Running.Id.Value, "job", 0));
            await FakeApi.WriteAsync(http, new Acknowledgement(true), ApiJson.Default.Acknowledgement);
        });

        var result = await _api.RavelAsync("run", "img");

        Assert.Equal((0, "one\ntwo\n"), (result.ExitCode, result.Output));
    }

    [Fact]
    public async Task Removed_after_its_end_it_still_gives_its_code()
    {
        Ends(SampleMachines.Exited(Running.Id.Value, "job", 3) with { State = MachineStates.Destroyed });
        Logs();

        var result = await _api.RavelAsync("run", "--rm", "img");

        Assert.Equal((3, ""), (result.ExitCode, result.Error));
        Assert.True(Created().Config.AutoDestroy);
    }

    [Theory]
    [InlineData(false, "ravel: job: /no/such: No such file or directory; see: ravel logs job\n")]
    [InlineData(true, "ravel: console: init: /no/such\nravel: job: /no/such: No such file or directory\n")]
    public async Task The_guests_console_is_shown_only_where_it_could_not_be_read_later(bool remove, string error)
    {
        var machine = Running with { Config = Running.Config with { AutoDestroy = remove } };
        _api.OnJson(Create, machine, ApiJson.Default.Machine);
        Ends(SampleMachines.Failed(Running.Id.Value, "job", ProblemCodes.GuestFailed, "/no/such: No such file or directory") with
        {
            State = remove ? MachineStates.Destroyed : MachineStates.Failed,
        });
        Logs(
            MachineCommandTests.Line("system", "/no/such: No such file or directory\n"),
            MachineCommandTests.Line("system", "console: init: /no/such\n"),
            MachineCommandTests.Line("stdout", "out\n"));

        var result = await _api.RavelAsync(["run", .. remove ? new[] { "--rm" } : [], "img"]);

        Assert.Equal((125, "out\n", error), (result.ExitCode, result.Output, result.Error));
    }

    private CreateMachineRequest Created() => JsonSerializer.Deserialize(
        _api.Requests.Last(request => request.Path == "/v1/apps/default/machines").Body, ApiJson.Default.CreateMachineRequest)!;

    /// <summary>The machine is in its last state as soon as somebody waits for it.</summary>
    private void Ends(Machine last) => _api.On($"GET {FakeApi.PathOf(last)}/wait", async http =>
    {
        _api.OnMachines(last);
        await FakeApi.WriteAsync(http, new Acknowledgement(true), ApiJson.Default.Acknowledgement);
    });

    private void Logs(params LogLine[] lines)
    {
        var path = $"GET {FakeApi.PathOf(Running)}/logs";
        // The whole log once; after that the machine has nothing new.
        _api.On(path, async http =>
        {
            _api.OnLines(path, ApiJson.Default.LogLine);
            foreach (var line in lines)
                await http.Response.WriteAsync(JsonSerializer.Serialize(line, ApiJson.Default.LogLine) + "\n");
        });
    }
}
