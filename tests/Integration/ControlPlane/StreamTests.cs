#pragma warning disable CA2016 // Scripts of the fake node end with the call; their writes need no token of their own.
using System.Net;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Storage;
using Ravel.Contracts.Node;
using Ravel.Testing.ControlPlane;
using Machine = Ravel.Contracts.Api.Machine;

namespace Ravel.Integration.ControlPlane;

public class StreamTests : IAsyncLifetime
{
    private ControlPlaneHost _host = null!;

    /// <summary>Null: a SQLite file.</summary>
    protected virtual Task<DatabaseAddress?> DatabaseAsync() => Task.FromResult<DatabaseAddress?>(null);
    private Machine _machine = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await ControlPlaneHost.StartAsync(database: await DatabaseAsync());
        await _host.Client.CreateAppAsync("web");
        _machine = await _host.Client.CreateMachineAsync("web");
        await _host.Client.WaitAsync(_machine, MachineStates.Started);
    }

    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return _host.DisposeAsync();
    }

    [Fact]
    public async Task Exec_returns_output_and_exit_code_and_feeds_standard_input()
    {
        ExecStart? seen = null;
        _host.Node.OnExec = async (start, input, output, _) =>
        {
            seen = start;
            await EchoAsync(input, output);
            await output.WriteAsync(new ExecOutput { Stderr = ByteString.CopyFromUtf8("done") });
            await output.WriteAsync(new ExecOutput { Exit = new ExitStatus { Code = 3 } });
        };
        var answer = await ExecAsync("""{"command":["cat"],"stdin":"hello","user":"nobody","env":{"A":"1"},"working_dir":"/tmp"}""")
            .ReadAsync(ApiJson.Default.ExecResponse);
        Assert.Equal(new ExecResponse("hello", "done", 3, null), answer);
        Assert.Equal(["cat"], seen!.Command);
        Assert.Equal("nobody", seen.User);
        Assert.Equal("/tmp", seen.WorkingDirectory);
        Assert.Equal("A", Assert.Single(seen.Environment).Name);
    }

    [Fact]
    public async Task Exec_takes_a_command_line_as_clients_of_the_Fly_API_send_it()
    {
        ExecStart? seen = null;
        _host.Node.OnExec = async (start, _, output, _) =>
        {
            seen = start;
            await output.WriteAsync(new ExecOutput { Exit = new ExitStatus { Code = 137, Signal = 9 } });
        };
        var answer = await ExecAsync("""{"cmd":"ls  -l /tmp"}""").ReadAsync(ApiJson.Default.ExecResponse);
        Assert.Equal(["ls", "-l", "/tmp"], seen!.Command);
        Assert.Equal(9, answer.ExitSignal);
    }

    [Fact]
    public async Task Exec_that_does_not_end_in_time_is_cancelled_on_the_node()
    {
        var cancelled = new TaskCompletionSource();
        _host.Node.OnExec = async (_, _, _, token) =>
        {
            token.Register(() => cancelled.SetResult());
            await Task.Delay(Timeout.Infinite, token);
        };
        var problem = await ExecAsync("""{"command":["sleep","1000"],"timeout":1}""").ProblemAsync();
        Assert.Equal(ProblemCodes.Timeout, problem.Code);
        await cancelled.Task.WaitAsync(Deadline());
    }

    [Fact]
    public async Task Exec_whose_output_does_not_fit_one_answer_is_refused()
    {
        _host.Node.OnExec = async (_, _, output, token) =>
        {
            var chunk = ByteString.CopyFrom(new byte[1 << 20]);
            while (!token.IsCancellationRequested)
                await output.WriteAsync(new ExecOutput { Stdout = chunk }, token);
        };
        Assert.Equal(ProblemCodes.PayloadTooLarge, (await ExecAsync("""{"command":["yes"]}""").ProblemAsync()).Code);
    }

    [Theory]
    [InlineData("""{"command":[]}""")]
    [InlineData("""{"cmd":"  "}""")]
    [InlineData("""{"command":["a\u0000b"]}""")]
    [InlineData("""{"command":["id"],"timeout":-1}""")]
    [InlineData("""{"command":["id"],"working_dir":"tmp"}""")]
    [InlineData("""{"command":["id"],"columns":0,"rows":0}""")]
    public async Task Exec_of_nonsense_is_refused_before_the_node_is_asked(string body)
    {
        _host.Node.OnExec = (_, _, _, _) => throw new InvalidOperationException("The node was asked.");
        Assert.Equal(ProblemCodes.InvalidRequest, (await ExecAsync(body).ProblemAsync()).Code);
    }

    [Fact]
    public async Task Exec_needs_a_started_machine_in_both_forms()
    {
        _host.Node.Exit(_machine.Id.Value, 0);
        await _host.Client.WaitAsync(_machine, MachineStates.Stopped);
        Assert.Equal(ProblemCodes.IllegalState, (await ExecAsync("""{"command":["id"]}""").ProblemAsync()).Code);
        using var socket = new ClientWebSocket();
        socket.Options.CollectHttpResponseDetails = true;
        socket.Options.SetRequestHeader("Authorization", $"Bearer {_host.Secrets.AdministratorSecret}");
        await Assert.ThrowsAsync<WebSocketException>(() => socket.ConnectAsync(SocketUri(), Deadline()));
        Assert.Equal(HttpStatusCode.Conflict, socket.HttpStatusCode);
    }

    [Fact]
    public async Task An_exec_session_carries_both_directions_signals_and_size_and_ends_with_the_exit_code()
    {
        var inputs = new List<ExecInput>();
        _host.Node.OnExec = async (start, input, output, _) =>
        {
            Assert.True(start.Tty);
            Assert.Equal(80u, start.Size.Columns);
            while (await input.MoveNext())
            {
                inputs.Add(input.Current.Clone());
                if (input.Current.KindCase == ExecInput.KindOneofCase.Stdin)
                    await output.WriteAsync(new ExecOutput { Stdout = input.Current.Stdin });
                if (input.Current.StdinClosed)
                    break;
            }
            await output.WriteAsync(new ExecOutput { Stderr = ByteString.CopyFromUtf8("bye") });
            await output.WriteAsync(new ExecOutput { Exit = new ExitStatus { Code = 5 } });
        };
        using var socket = await OpenAsync("""{"command":["sh"],"tty":true,"columns":80,"rows":24,"attach_stdin":true}""");
        await SendAsync(socket, WebSocketMessageType.Binary, [0, (byte)'h', (byte)'i']);
        await SendAsync(socket, WebSocketMessageType.Text, """{"signal":"SIGWINCH","columns":120,"rows":40}"""u8.ToArray());
        await SendAsync(socket, WebSocketMessageType.Text, """{"stdin_closed":true}"""u8.ToArray());

        var (stdout, stderr, last) = await ReadToEndAsync(socket);
        Assert.Equal("hi", stdout);
        Assert.Equal("bye", stderr);
        Assert.Equal(5, last.ExitCode);
        Assert.Equal(
            [ExecInput.KindOneofCase.Stdin, ExecInput.KindOneofCase.Signal, ExecInput.KindOneofCase.Resize, ExecInput.KindOneofCase.StdinClosed],
            inputs.Select(i => i.KindCase));
        Assert.Equal(28, inputs[1].Signal);
        Assert.Equal(120u, inputs[2].Resize.Columns);
    }

    [Fact]
    public async Task An_exec_session_passes_ten_megabytes_through_in_order()
    {
        _host.Node.OnExec = async (_, input, output, _) =>
        {
            await EchoAsync(input, output);
            await output.WriteAsync(new ExecOutput { Exit = new ExitStatus() });
        };
        using var socket = await OpenAsync("""{"command":["cat"],"attach_stdin":true}""");
        var data = new byte[10 << 20];
        new Random(1).NextBytes(data);
        var message = new byte[data.Length + 1];
        data.CopyTo(message, 1);
        var sending = Task.Run(async () =>
        {
            await SendAsync(socket, WebSocketMessageType.Binary, message);
            await SendAsync(socket, WebSocketMessageType.Text, """{"stdin_closed":true}"""u8.ToArray());
        });
        using var received = new MemoryStream();
        var last = await ReadToEndAsync(socket, (channel, bytes) => received.Write(bytes));
        await sending;
        Assert.Equal(0, last.ExitCode);
        Assert.True(data.AsSpan().SequenceEqual(received.ToArray()));
    }

    [Fact]
    public async Task The_exit_code_arrives_although_the_client_still_sends_input()
    {
        _host.Node.OnExec = (_, _, output, _) => output.WriteAsync(new ExecOutput { Exit = new ExitStatus { Code = 1 } });
        using var socket = await OpenAsync("""{"command":["false"],"attach_stdin":true}""");
        var chunk = new byte[32 << 10];
        var sending = Task.Run(async () =>
        {
            while (socket.State == WebSocketState.Open)
                await SendAsync(socket, WebSocketMessageType.Binary, chunk);
        });
        var (_, _, last) = await ReadToEndAsync(socket);
        Assert.Equal(1, last.ExitCode);
        // How the sender ended does not matter: its socket was closed under it.
        await Task.WhenAny(sending);
    }

    [Fact]
    public async Task A_client_that_goes_away_ends_its_command()
    {
        var cancelled = new TaskCompletionSource();
        _host.Node.OnExec = async (_, _, output, token) =>
        {
            token.Register(() => cancelled.SetResult());
            await output.WriteAsync(new ExecOutput { Stdout = ByteString.CopyFromUtf8("x") }, token);
            await Task.Delay(Timeout.Infinite, token);
        };
        var socket = await OpenAsync("""{"command":["sleep","1000"]}""");
        await socket.ReceiveAsync(new byte[16], Deadline());
        socket.Abort();
        await cancelled.Task.WaitAsync(Deadline());
    }

    [Theory]
    [InlineData("{", ProblemCodes.MalformedJson)]
    [InlineData("""{"command":[]}""", ProblemCodes.InvalidRequest)]
    public async Task An_exec_session_that_begins_with_nonsense_ends_with_a_problem(string first, string code)
    {
        using var socket = await OpenAsync(first);
        var (_, _, last) = await ReadToEndAsync(socket);
        Assert.Equal(code, last.Problem!.Code);
    }

    [Fact]
    public async Task A_refusal_of_the_node_ends_an_exec_session_with_its_problem()
    {
        _host.Node.OnExec = (_, _, _, _) => throw FakeNode.Refusal(ProblemCodes.GuestFailed, "There is no program 'nope' in the machine.");
        using var socket = await OpenAsync("""{"command":["nope"]}""");
        var (_, _, last) = await ReadToEndAsync(socket);
        Assert.Equal(ProblemCodes.GuestFailed, last.Problem!.Code);
        Assert.Contains("nope", last.Problem.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Input_that_was_not_announced_ends_the_session_with_a_problem()
    {
        _host.Node.OnExec = (_, _, _, token) => Task.Delay(Timeout.Infinite, token);
        using var socket = await OpenAsync("""{"command":["cat"]}""");
        await SendAsync(socket, WebSocketMessageType.Binary, [0, 1]);
        var (_, _, last) = await ReadToEndAsync(socket);
        Assert.Equal(ProblemCodes.InvalidRequest, last.Problem!.Code);
    }

    [Fact]
    public async Task Logs_are_lines_of_JSON_with_nanoseconds_and_bytes_that_are_not_text_survive()
    {
        _host.Node.Print(_machine.Id.Value, "stdout", "hello\n"u8.ToArray());
        _host.Node.Print(_machine.Id.Value, "stderr", [0xff, 0xfe]);
        var lines = await LogsAsync("");
        Assert.Equal("hello\n", lines[0].Message);
        Assert.Equal("2023-11-14T22:13:20.123456789Z", lines[0].Timestamp);
        Assert.Equal("stderr", lines[1].Stream);
        Assert.Null(lines[1].Message);
        Assert.Equal([0xff, 0xfe], lines[1].Data);
        Assert.Equal("hello\n", Assert.Single(await LogsAsync("?since=2023-11-14T22:13:20Z&tail=2"), l => l.Message is not null).Message);
        Assert.Single(await LogsAsync("?tail=1"));
        Assert.Single(await LogsAsync("?since=2023-11-14T22:13:21Z"));
        Assert.Empty(await LogsAsync("?tail=0"));
    }

    [Fact]
    public async Task Followed_logs_come_line_by_line_and_end_with_the_machine()
    {
        _host.Node.Print(_machine.Id.Value, "stdout", "one\n"u8.ToArray());
        using var response = await _host.Client.GetAsync($"{ApiCalls.PathOf(_machine)}/logs?follow=true", HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal("application/x-ndjson", response.Content.Headers.ContentType?.MediaType);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.Contains("one", await reader.ReadLineAsync(Deadline()), StringComparison.Ordinal);
        _host.Node.Print(_machine.Id.Value, "stdout", "two\n"u8.ToArray());
        Assert.Contains("two", await reader.ReadLineAsync(Deadline()), StringComparison.Ordinal);
        _host.Node.Exit(_machine.Id.Value, 0);
        Assert.Null(await reader.ReadLineAsync(Deadline()));
    }

    [Fact]
    public async Task Logs_asked_for_right_after_a_create_wait_for_the_node_to_know_the_machine()
    {
        var release = new ManualResetEventSlim();
        _host.Node.OnPut = _ => release.Wait(Deadline());
        var machine = await _host.Client.CreateMachineAsync("web");
        var logs = _host.Client.GetAsync($"{ApiCalls.PathOf(machine)}/logs");
        release.Set();
        await logs.OkAsync();
    }

    [Fact]
    public async Task Logs_followed_right_after_a_start_do_not_end_with_the_run_before()
    {
        _host.Node.Exit(_machine.Id.Value, 0);
        await _host.Client.GetAsync($"{ApiCalls.PathOf(_machine)}/wait?state=stopped").OkAsync();
        var release = new ManualResetEventSlim();
        _host.Node.OnPut = _ => release.Wait(Deadline());
        await _host.Client.PostAsync($"{ApiCalls.PathOf(_machine)}/start", null).OkAsync();

        var following = _host.Client.GetAsync($"{ApiCalls.PathOf(_machine)}/logs?follow=true", HttpCompletionOption.ResponseHeadersRead);
        release.Set();
        await _host.Node.WaitForAsync(node => node.StatusOf(_machine.Id.Value)?.State == MachineState.Started, Deadline());
        _host.Node.Print(_machine.Id.Value, "stdout", "again\n"u8.ToArray());

        using var response = await following;
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.Contains("again", await reader.ReadLineAsync(Deadline()), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pull_reports_its_progress_and_ends_with_the_image()
    {
        _host.Node.OnPull = async (request, output, _) =>
        {
            Assert.Equal("nginx:1", request.Reference);
            await output.WriteAsync(new PullImageProgress { Phase = "resolve" });
            await output.WriteAsync(new PullImageProgress { Layer = new LayerProgress { Digest = "sha256:1", ReceivedBytes = 5, TotalBytes = 9 } });
            await output.WriteAsync(new PullImageProgress
            {
                Image = new Contracts.Node.Image { ManifestDigest = "sha256:2", References = { "nginx:1" }, RootfsBytes = 7 },
            });
        };
        var lines = await PullAsync("nginx:1");
        Assert.Equal("resolve", lines[0].Phase);
        Assert.Equal((5, 9), (lines[1].Received, lines[1].Total));
        Assert.Equal("sha256:2", lines[2].Image!.Digest);
    }

    [Fact]
    public async Task A_pull_that_fails_at_once_is_a_problem_and_one_that_fails_later_ends_with_one()
    {
        _host.Node.OnPull = (_, _, _) => throw FakeNode.Refusal(ProblemCodes.ImageNotFound, "nginx:0 is not in its registry.");
        var problem = await _host.Client.PostAsync("/v1/images/pull", Json("""{"reference":"nginx:0"}""")).ProblemAsync();
        Assert.Equal(ProblemCodes.ImageNotFound, problem.Code);
        _host.Node.OnPull = async (_, output, _) =>
        {
            await output.WriteAsync(new PullImageProgress { Phase = "resolve" });
            throw FakeNode.Refusal(ProblemCodes.ImagePullFailed, "The registry hung up.");
        };
        Assert.Equal(ProblemCodes.ImagePullFailed, (await PullAsync("nginx:0"))[^1].Problem!.Code);
    }

    [Fact]
    public async Task An_image_is_inspected_verified_and_pruned()
    {
        _host.Node.Images.Add(new Contracts.Node.Image
        {
            ManifestDigest = "sha256:1", References = { "nginx:1" }, RootfsBytes = 7, MachineIds = { "m1" }, Damaged = true, Imported = true,
        });
        _host.Node.Images.Add(new Contracts.Node.Image { ManifestDigest = "sha256:2", RootfsBytes = 5 });

        var details = await _host.Client.GetAsync("/v1/images/inspect?reference=nginx:1").ReadAsync(ApiJson.Default.ImageDetails);
        Assert.Equal(("sha256:1", true, true, "m1"), (details.Image.Digest, details.Image.Damaged, details.Image.Imported, Assert.Single(details.Image.Machines)));
        Assert.Equal(new Contracts.Api.ImageLayer("sha256:layer", 5), Assert.Single(details.Layers));
        Assert.Equal(("sha256:rootfs", "A=b=c", "web"), (details.RootfsDigest, Assert.Single(details.Config.Env), details.Config.Labels["title"]));
        Assert.Equal(ProblemCodes.InvalidRequest, (await _host.Client.GetAsync("/v1/images/inspect").ProblemAsync()).Code);
        Assert.Equal(ProblemCodes.ImageNotFound, (await _host.Client.GetAsync("/v1/images/inspect?reference=no").ProblemAsync()).Code);

        var text = await (await _host.Client.PostAsync("/v1/images/verify", Json("{}"))).Content.ReadAsStringAsync();
        var lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonSerializer.Deserialize(line, ApiJson.Default.VerifiedImage)!);
        Assert.Equal([("sha256:1", "it is another"), ("sha256:2", null)], lines.Select(line => (line.Image!.Digest, line.Damage)));

        var dry = await _host.Client.PostAsync("/v1/images/prune", Json("""{"all":true,"dry_run":true}""")).ReadAsync(ApiJson.Default.PrunedImages);
        Assert.Equal((2, 12), (dry.Removed.Count, dry.FreedBytes));
        var pruned = await _host.Client.PostAsync("/v1/images/prune", Json("{}")).ReadAsync(ApiJson.Default.PrunedImages);
        Assert.Equal(("sha256:2", 5), (Assert.Single(pruned.Removed).Digest, pruned.FreedBytes));
    }

    [Fact]
    public async Task An_archive_is_imported_listed_and_removed()
    {
        var data = new byte[5 << 20];
        new Random(2).NextBytes(data);
        using var content = new ByteArrayContent(data);
        content.Headers.ContentType = new("application/octet-stream");
        var image = await _host.Client.PostAsync("/v1/images/import?reference=team/app:1", content).ReadAsync(ApiJson.Default.Image);
        Assert.Equal(data.Length, image.Size);
        var (reference, bytes) = Assert.Single(_host.Node.Imported);
        Assert.Equal("team/app:1", reference);
        Assert.True(data.AsSpan().SequenceEqual(bytes));

        _host.Node.Images.Add(new Contracts.Node.Image { ManifestDigest = image.Digest, References = { "team/app:1" } });
        Assert.Equal(image.Digest, Assert.Single((await _host.Client.GetAsync("/v1/images").ReadAsync(ApiJson.Default.ImageList)).Images).Digest);
        await _host.Client.DeleteAsync("/v1/images/team/app:1").OkAsync();
        Assert.Empty((await _host.Client.GetAsync("/v1/images").ReadAsync(ApiJson.Default.ImageList)).Images);
    }

    [Theory]
    [InlineData("", "OciArchive of team/app:1")]
    [InlineData("&format=oci-archive", "OciArchive of team/app:1")]
    [InlineData("&format=docker-archive", "DockerArchive of team/app:1")]
    public async Task An_image_is_exported_with_its_length(string format, string expected)
    {
        _host.Node.Images.Add(new Contracts.Node.Image { ManifestDigest = "sha256:1", References = { "team/app:1" } });
        using var response = await _host.Client.GetAsync($"/v1/images/export?reference=team/app:1{format}");
        Assert.Equal(("application/x-tar", expected.Length), (response.Content.Headers.ContentType!.MediaType, response.Content.Headers.ContentLength));
        Assert.Equal(expected, await response.Content.ReadAsStringAsync());
    }

    [Theory]
    [InlineData("", ProblemCodes.InvalidRequest)]
    [InlineData("?reference=", ProblemCodes.InvalidRequest)]
    [InlineData("?reference=team/app:1&format=zip", ProblemCodes.InvalidRequest)]
    [InlineData("?reference=none", ProblemCodes.ImageNotFound)]
    public async Task An_export_that_cannot_be_is_a_problem(string query, string code) =>
        Assert.Equal(code, (await _host.Client.GetAsync($"/v1/images/export{query}").ProblemAsync()).Code);

    [Fact]
    public async Task An_export_that_breaks_off_is_not_taken_for_whole()
    {
        _host.Node.MissingExportBytes = 1;
        _host.Node.Images.Add(new Contracts.Node.Image { ManifestDigest = "sha256:1", References = { "team/app:1" } });
        await Assert.ThrowsAsync<HttpRequestException>(() => _host.Client.GetAsync("/v1/images/export?reference=team/app:1"));
    }

    [Fact]
    public async Task An_import_says_which_image_of_the_archive_is_meant()
    {
        using var content = new ByteArrayContent([1, 2, 3]);
        content.Headers.ContentType = new("application/octet-stream");
        var image = await _host.Client.PostAsync("/v1/images/import?image=db:2", content).ReadAsync(ApiJson.Default.Image);
        Assert.Equal(["db:2"], image.References);
    }

    [Fact]
    public async Task An_archive_that_the_node_refuses_is_a_problem()
    {
        using var content = new ByteArrayContent([]);
        content.Headers.ContentType = new("application/octet-stream");
        Assert.Equal(ProblemCodes.ImageInvalid, (await _host.Client.PostAsync("/v1/images/import", content).ProblemAsync()).Code);
    }

    private static async Task EchoAsync(IAsyncStreamReader<ExecInput> input, IServerStreamWriter<ExecOutput> output)
    {
        while (await input.MoveNext() && !input.Current.StdinClosed)
            await output.WriteAsync(new ExecOutput { Stdout = input.Current.Stdin });
    }

    private Task<HttpResponseMessage> ExecAsync(string body) => _host.Client.DoAsync(_machine, "exec", Json(body));

    private Uri SocketUri() => new UriBuilder(new Uri(_host.Address, $"{ApiCalls.PathOf(_machine)}/exec")) { Scheme = "ws" }.Uri;

    private async Task<ClientWebSocket> OpenAsync(string request)
    {
        var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("Authorization", $"Bearer {_host.Secrets.AdministratorSecret}");
        await socket.ConnectAsync(SocketUri(), Deadline());
        await SendAsync(socket, WebSocketMessageType.Text, Encoding.UTF8.GetBytes(request));
        return socket;
    }

    private static Task SendAsync(ClientWebSocket socket, WebSocketMessageType type, byte[] message) =>
        socket.SendAsync(message, type, true, Deadline());

    private static async Task<(string Stdout, string Stderr, ExecControl Last)> ReadToEndAsync(ClientWebSocket socket)
    {
        var output = new[] { new StringBuilder(), new StringBuilder(), new StringBuilder() };
        var last = await ReadToEndAsync(socket, (channel, bytes) => output[channel].Append(Encoding.UTF8.GetString(bytes)));
        return (output[1].ToString(), output[2].ToString(), last);
    }

    private static async Task<ExecControl> ReadToEndAsync(ClientWebSocket socket, Action<int, byte[]> onOutput)
    {
        ExecControl? last = null;
        var buffer = new byte[1 << 20];
        while (true)
        {
            var length = 0;
            WebSocketReceiveResult received;
            do
            {
                received = await socket.ReceiveAsync(new ArraySegment<byte>(buffer, length, buffer.Length - length), Deadline());
                length += received.Count;
            }
            while (!received.EndOfMessage);
            switch (received.MessageType)
            {
                case WebSocketMessageType.Close:
                    await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, Deadline());
                    return last ?? throw new InvalidOperationException("The session ended without a last message.");
                case WebSocketMessageType.Binary:
                    onOutput(buffer[0], buffer.AsSpan(1, length - 1).ToArray());
                    break;
                default:
                    last = JsonSerializer.Deserialize(buffer.AsSpan(0, length), ApiJson.Default.ExecControl);
                    break;
            }
        }
    }

    private async Task<List<LogLine>> LogsAsync(string query)
    {
        using var response = await _host.Client.GetAsync($"{ApiCalls.PathOf(_machine)}/logs{query}");
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return Lines(await response.Content.ReadAsStringAsync(), ApiJson.Default.LogLine);
    }

    private async Task<List<PullProgress>> PullAsync(string reference)
    {
        using var response = await _host.Client.PostAsync("/v1/images/pull", Json($$"""{"reference":"{{reference}}"}"""));
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return Lines(await response.Content.ReadAsStringAsync(), ApiJson.Default.PullProgress);
    }

    private static List<T> Lines<T>(string text, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) =>
        text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonSerializer.Deserialize(l, type)!).ToList();

    private static StringContent Json(string text) => new(text, Encoding.UTF8, "application/json");

    private static CancellationToken Deadline() => new CancellationTokenSource(TimeSpan.FromSeconds(60)).Token;
}
