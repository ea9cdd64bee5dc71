using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.Linux.Processes;
using Ravel.Testing.Cli;
using Ravel.Testing.Needs;

namespace Ravel.Integration.Cli;

public sealed class ExecCommandTests : IAsyncLifetime
{
    private static readonly Machine Web = SampleMachines.Started("abc00000000001", "web");
    private readonly TaskCompletionSource<ExecRequest> _request = new();
    private FakeApi _api = null!;

    public async ValueTask InitializeAsync()
    {
        _api = await FakeApi.StartAsync();
        _api.OnMachines(Web);
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task Output_and_errors_arrive_apart_and_the_exit_code_is_the_commands()
    {
        OnExec(async socket =>
        {
            await SendAsync(socket, 1, "out\n");
            await SendAsync(socket, 2, "err\n");
            await ControlAsync(socket, new ExecControl { ExitCode = 42 });
        });

        var result = await _api.RavelAsync("exec", "-e", "A=b", "-u", "1", "-w", "/srv", "web", "ls", "-l", "--", "x");

        Assert.Equal((42, "out\n", "err\n"), (result.ExitCode, result.Output, result.Error));
        var request = await _request.Task;
        Assert.Equal(["ls", "-l", "--", "x"], request.Command!);
        Assert.Equal(("1", "/srv", false, false), (request.User, request.WorkingDir, request.Tty, request.AttachStdin));
        Assert.Equal("b", request.Env!["A"]);
    }

    [Fact]
    public async Task Standard_input_is_passed_on_and_its_end_too()
    {
        OnExec(async socket =>
        {
            var echoed = new MemoryStream();
            while (true)
            {
                var (type, message) = await ReceiveAsync(socket);
                if (type == WebSocketMessageType.Text)
                {
                    Assert.True(JsonSerializer.Deserialize(message, ApiJson.Default.ExecControl)!.StdinClosed);
                    break;
                }
                Assert.Equal(0, message[0]);
                echoed.Write(message.AsSpan(1));
            }
            await SendAsync(socket, 1, $"{echoed.Length}\n");
            await ControlAsync(socket, new ExecControl { ExitCode = 0 });
        });
        using var process = _api.StartRavel("exec", "-i", "web", "wc", "-c");
        await process.Input.WriteAsync(new byte[100_000]);
        process.Input.Close();

        var result = await process.WaitAsync();

        Assert.Equal((0, "100000\n", ""), (result.ExitCode, result.Output, result.Error));
        Assert.True((await _request.Task).AttachStdin);
    }

    [Fact]
    public async Task Whoever_ends_it_by_three_signals_has_his_terminal_back_as_it_was()
    {
        Need.Program("script");
        var pid = Path.Combine(Path.GetTempPath(), $"ravel-exec-{Guid.CreateVersion7():N}");
        OnExec(async socket =>
        {
            // The terminal is raw once what is typed arrives.
            while ((await ReceiveAsync(socket)).Type != WebSocketMessageType.Binary)
            {
            }
            var process = (await File.ReadAllTextAsync(pid)).Trim();
            for (var signals = 1; signals < 3; signals++)
            {
                await CommandRunner.RunCheckedAsync("kill", ["-TERM", process]);
                while (!(await ReceiveAsync(socket)).Message.AsSpan().StartsWith("{\"signal\""u8))
                {
                }
            }
            await CommandRunner.RunCheckedAsync("kill", ["-TERM", process]);
            await ReceiveAsync(socket);
        });
        try
        {
            using var process = RavelProcess.StartProgram(
                "script", _api.Environment, "-qec",
                $"sh -c 'echo $$ > {pid}; exec \"$0\" \"$@\"' '{RavelProcess.Binary}' exec -it web sh; echo code $?; stty -a", "/dev/null");
            await process.Input.WriteAsync("x"u8.ToArray());
            await process.Input.FlushAsync();
            var result = await process.WaitAsync();

            Assert.Contains("code 143", result.Output, StringComparison.Ordinal);
            Assert.Matches(@"(?<!-)\bicanon\b", result.Output);
            Assert.Matches(@"(?<!-)\becho\b", result.Output);
        }
        finally
        {
            File.Delete(pid);
        }
    }

    [Fact]
    public async Task A_message_in_fragments_has_one_channel_byte()
    {
        OnExec(async socket =>
        {
            await socket.SendAsync(new byte[] { 1, (byte)'a' }, WebSocketMessageType.Binary, endOfMessage: false, CancellationToken.None);
            await socket.SendAsync("b\n"u8.ToArray(), WebSocketMessageType.Binary, endOfMessage: true, CancellationToken.None);
            await ControlAsync(socket, new ExecControl { ExitCode = 0 });
        });

        Assert.Equal("ab\n", (await _api.RavelAsync("exec", "web", "x")).Output);
    }

    [Fact]
    public async Task Ctrl_c_is_the_commands()
    {
        OnExec(async socket =>
        {
            await SendAsync(socket, 1, "ready\n");
            var (_, message) = await ReceiveAsync(socket);
            Assert.Equal("SIGINT", JsonSerializer.Deserialize(message, ApiJson.Default.ExecControl)!.Signal);
            await ControlAsync(socket, new ExecControl { ExitCode = 130, ExitSignal = 2 });
        });
        using var process = _api.StartRavel("exec", "web", "sleep", "9");
        await process.UntilPrintedAsync("ready");

        await process.SignalAsync("INT");

        Assert.Equal(130, (await process.WaitAsync()).ExitCode);
    }

    [Fact]
    public async Task A_terminal_is_raw_for_the_session_and_as_before_after_it()
    {
        Need.Program("script");
        OnExec(async socket =>
        {
            await SendAsync(socket, 1, "prompt>");
            var (_, message) = await ReceiveAsync(socket);
            // In raw mode Ctrl-C is a byte like others, and arrives without Enter.
            await SendAsync(socket, 1, message is [0, 3] ? "got ^C" : "got something else");
            await ControlAsync(socket, new ExecControl { ExitCode = 5 });
        });
        var shell = $"stty rows 33 cols 111; before=$(stty -g); '{RavelProcess.Binary}' exec -it web sh; echo \" code=$?\"; [ \"$before\" = \"$(stty -g)\" ] && echo restored";
        using var process = RavelProcess.StartProgram("script", _api.Environment, "-qec", shell, "/dev/null");
        await process.UntilPrintedAsync("prompt>");
        await process.Input.WriteAsync(new byte[] { 3 });
        await process.Input.FlushAsync();

        var result = await process.WaitAsync();

        Assert.Contains("got ^C code=5", result.Output);
        Assert.Contains("restored", result.Output);
        var request = await _request.Task;
        Assert.Equal((true, 111, 33), (request.Tty, request.Columns, request.Rows));
    }

    [Fact]
    public async Task A_machine_that_does_not_run_is_125_with_the_servers_reason()
    {
        _api.OnProblem($"GET {FakeApi.PathOf(Web)}/exec", ProblemCodes.IllegalState, "Machine web is stopped, not started.");

        var result = await _api.RavelAsync("exec", "web", "ls");

        Assert.Equal((125, "ravel: web: Machine web is stopped, not started\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task A_problem_in_the_session_is_125()
    {
        OnExec(socket => ControlAsync(socket, new ExecControl
        {
            Problem = new Problem { Title = "t", Status = 500, Code = ProblemCodes.GuestFailed, Detail = "The guest has gone." },
        }));

        var result = await _api.RavelAsync("exec", "web", "ls");

        Assert.Equal((125, "ravel: web: The guest has gone\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task A_connection_that_breaks_off_is_125()
    {
        OnExec(socket =>
        {
            socket.Abort();
            return Task.CompletedTask;
        });

        var result = await _api.RavelAsync("exec", "web", "ls");

        Assert.Equal(125, result.ExitCode);
        Assert.StartsWith("ravel: web: the session broke off: ", result.Error);
    }

    [Fact]
    public async Task A_command_has_to_be_given()
    {
        var result = await _api.RavelAsync("exec", "web");

        Assert.Equal((125, "ravel: exec: no command given; e.g.: ravel exec -it MACHINE sh\n"), (result.ExitCode, result.Error));
    }

    private void OnExec(Func<WebSocket, Task> script) => _api.On($"GET {FakeApi.PathOf(Web)}/exec", async http =>
    {
        using var socket = await http.WebSockets.AcceptWebSocketAsync();
        var (_, first) = await ReceiveAsync(socket);
        _request.SetResult(JsonSerializer.Deserialize(first, ApiJson.Default.ExecRequest)!);
        await script(socket);
        if (socket.State == WebSocketState.Open)
            await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, http.RequestAborted);
    });

    private static async Task<(WebSocketMessageType Type, byte[] Message)> ReceiveAsync(WebSocket socket)
    {
        var buffer = new byte[200_000];
        var length = 0;
        while (true)
        {
            var received = await socket.ReceiveAsync(buffer.AsMemory(length), CancellationToken.None);
            length += received.Count;
            if (received.EndOfMessage)
                return (received.MessageType, buffer[..length]);
        }
    }

    private static Task SendAsync(WebSocket socket, byte channel, string text) =>
        socket.SendAsync(new ArraySegment<byte>([channel, .. Encoding.UTF8.GetBytes(text)]), WebSocketMessageType.Binary, true, CancellationToken.None);

    private static Task ControlAsync(WebSocket socket, ExecControl control) => socket.SendAsync(
        new ArraySegment<byte>(JsonSerializer.SerializeToUtf8Bytes(control, ApiJson.Default.ExecControl)), WebSocketMessageType.Text, true, CancellationToken.None);
}
