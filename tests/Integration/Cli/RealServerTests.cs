using System.Text;
using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.Testing.Cli;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.Cli;

/// <summary>The real <c>ravel</c> against the real server role, whose node is a fake: that both mean the same API.</summary>
public sealed class RealServerTests : IAsyncLifetime
{
    private readonly Dictionary<string, string> _environment = new() { ["XDG_CONFIG_HOME"] = "/nonexistent", ["TERM"] = "dumb" };
    private ControlPlaneHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await ControlPlaneHost.StartAsync();
        _environment["RAVEL_SERVER"] = _host.Address.ToString();
        _environment["RAVEL_TOKEN"] = _host.Secrets.AdministratorSecret;
        _host.Node.OnPull = (request, output, token) =>
            output.WriteAsync(new PullImageProgress { Image = Pulled(request.Reference) }, token);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task A_machine_lives_its_life_through_the_commands()
    {
        var id = (await DoneAsync("run", "-d", "--name", "web", "-p", "8080:80", "--memory", "512m", "nginx:1", "nginx", "-g", "daemon off;")).TrimEnd();
        Assert.Contains("Up ", await DoneAsync("ps"));
        Assert.Contains("nginx -g 'daemon off;'", await DoneAsync("ps", "--no-trunc"));
        Assert.Equal(id + "\n", await DoneAsync("ps", "-q"));

        _host.Node.Print(id, "stdout", "hello\n"u8.ToArray());
        Assert.Equal("hello\n", await DoneAsync("logs", "--tail", "1", "web"));
        Assert.Equal("", await DoneAsync("logs", "--since", "10m", "web"));

        Assert.Equal("web\n", await DoneAsync("kill", "-s", "HUP", "web"));
        Assert.Equal(1, Assert.Single(_host.Node.Signals).Signal);
        Assert.Equal($"{id[..6]}\n", await DoneAsync("stop", "-t", "5", id[..6]));
        Assert.Contains("Exited (143) ", await DoneAsync("ps", "-a"));
        Assert.Equal("143\n", await DoneAsync("wait", "web"));
        Assert.Equal("web\n", await DoneAsync("start", "web"));
        Assert.Equal("web\n", await DoneAsync("restart", "-t", "1s", "web"));
        Assert.Contains("start", await DoneAsync("events", "web"));

        var inspected = JsonSerializer.Deserialize(await DoneAsync("inspect", "web"), ApiJson.Default.IReadOnlyListMachine)!;
        Assert.Equal((id, 512, MachineStates.Started), (inspected[0].Id.Value, inspected[0].Config.Guest?.MemoryMb, inspected[0].State));

        var refused = await RavelAsync("rm", "web");
        Assert.Equal((1, "ravel: web: is started; stop it first, or: ravel rm -f web\n"), (refused.ExitCode, refused.Error));
        Assert.Equal("web\n", await DoneAsync("rm", "-f", "web"));
        Assert.Equal("", await DoneAsync("ps", "-aq"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Attached_a_run_ends_with_the_workloads_code(bool remove)
    {
        string[] arguments = ["run", "--name", "job", .. remove ? new[] { "--rm" } : [], "img", "sh", "-c", "exit 7"];
        using var process = RavelProcess.Start(_environment, arguments);
        var machine = await CreatedAsync();
        _host.Node.Print(machine, "stdout", "out\n"u8.ToArray());
        await process.UntilPrintedAsync("out");

        _host.Node.Exit(machine, 7);
        var result = await process.WaitAsync();

        Assert.Equal((7, "out\n", ""), (result.ExitCode, result.Output, result.Error));
        Assert.Equal(remove ? "" : machine + "\n", await DoneAsync("ps", "-aq"));
    }

    [Fact]
    public async Task A_machine_that_the_node_refuses_is_125()
    {
        _host.Node.Slots = 0;

        var result = await RavelAsync("run", "img");

        Assert.Equal(125, result.ExitCode);
        Assert.Equal(
            "ravel: img: 0 of 1 node fits: 1 has no slot for a machine left; stop a machine or ask for less with --memory and --cpus\n", result.Error);
    }

    [Fact]
    public async Task Exec_carries_input_output_and_the_exit_code()
    {
        _host.Node.OnExec = async (start, input, output, token) =>
        {
            var received = new StringBuilder();
            while (await input.MoveNext(token) && input.Current.KindCase == ExecInput.KindOneofCase.Stdin)
                received.Append(input.Current.Stdin.ToStringUtf8());
            await output.WriteAsync(new ExecOutput { Stdout = Google.Protobuf.ByteString.CopyFromUtf8($"{string.Join(' ', start.Command)}:{received}") }, token);
            await output.WriteAsync(new ExecOutput { Stderr = Google.Protobuf.ByteString.CopyFromUtf8("err\n") }, token);
            await output.WriteAsync(new ExecOutput { Exit = new ExitStatus { Code = 3 } }, token);
        };
        await DoneAsync("run", "-d", "--name", "web", "img");
        using var process = RavelProcess.Start(_environment, "exec", "-i", "web", "cat", "-n");
        await process.Input.WriteAsync("typed\n"u8.ToArray());
        process.Input.Close();

        var result = await process.WaitAsync();

        Assert.Equal((3, "cat -n:typed\n", "err\n"), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public async Task Exec_in_a_machine_that_does_not_run_says_so()
    {
        await DoneAsync("create", "--name", "web", "img");

        var result = await RavelAsync("exec", "web", "ls");

        Assert.Equal(125, result.ExitCode);
        Assert.Matches("^ravel: web: Machine [0-9a-f]{14} \\(web\\) is created, not started\n$", result.Error);
    }

    [Fact]
    public async Task Images_are_pulled_imported_listed_and_removed()
    {
        var file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, "archive");
        try
        {
            Assert.Equal(Pulled("x").ManifestDigest + "\n", await DoneAsync("image", "pull", "-q", "localhost:5000/team/app:1"));
            Assert.Equal($"sha256:{new string('b', 64)}\n", await DoneAsync("image", "import", file, "--name", "team/app:2"));
            Assert.Equal("team/app:2", Assert.Single(_host.Node.Imported).Reference);
            _host.Node.Images.Add(Pulled("localhost:5000/team/app:1"));
            Assert.Contains("localhost:5000/team/app:1   aaaaaaaaaaaa", await DoneAsync("image", "ls"));
            Assert.Equal("localhost:5000/team/app:1\n", await DoneAsync("image", "rm", "localhost:5000/team/app:1"));
            var gone = await RavelAsync("image", "rm", "localhost:5000/team/app:1");
            Assert.Equal((1, "ravel: localhost:5000/team/app:1: There is no image 'localhost:5000/team/app:1'; see: ravel image ls\n"), (gone.ExitCode, gone.Error));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task A_token_made_for_a_namespace_sees_that_alone()
    {
        await DoneAsync("namespace", "create", "team-a");
        Assert.Contains("team-a", await DoneAsync("namespace", "ls"));
        var secret = (await DoneAsync("--namespace", "team-a", "token", "create", "ci")).TrimEnd();
        await DoneAsync("run", "-d", "--name", "mine", "img");
        await DoneAsync("--namespace", "team-a", "run", "-d", "--name", "theirs", "img");

        _environment["RAVEL_TOKEN"] = secret;
        Assert.Contains("theirs", await DoneAsync("ps"));
        Assert.DoesNotContain("mine", await DoneAsync("ps"));
        var refused = await RavelAsync("image", "ls");
        Assert.Equal(1, refused.ExitCode);
        Assert.Single(refused.Error.TrimEnd().Split('\n'));

        var tokens = JsonSerializer.Deserialize(await DoneAsync("token", "ls", "--json"), ApiJson.Default.IReadOnlyListToken)!;
        await DoneAsync("token", "rm", tokens.Single(token => token.Name == "ci").Id);
        Assert.Contains("--token or RAVEL_TOKEN", (await RavelAsync("ps")).Error);
    }

    [Fact]
    public async Task A_request_that_the_server_finds_wrong_is_2_or_125()
    {
        var created = await RavelAsync("create", "--name", "Not_A_Name", "img");
        var run = await RavelAsync("run", "--name", "Not_A_Name", "img");

        Assert.Equal((2, 125), (created.ExitCode, run.ExitCode));
        Assert.StartsWith("ravel: Not_A_Name: ", created.Error);
    }

    [Fact]
    public async Task Info_shows_the_node()
    {
        // A machine that runs: the server has met the node.
        await DoneAsync("run", "-d", "img");
        Assert.Contains("fake 1.0, none", await DoneAsync("info"));
    }

    private static Ravel.Contracts.Node.Image Pulled(string reference) =>
        new() { ManifestDigest = "sha256:" + new string('a', 64), References = { reference }, RootfsBytes = 1 };

    private Task<RavelResult> RavelAsync(params string[] arguments) => RavelProcess.RunAsync(_environment, arguments);

    private async Task<string> DoneAsync(params string[] arguments)
    {
        var result = await RavelAsync(arguments);
        Assert.True(result.ExitCode == 0, $"ravel {string.Join(' ', arguments)} ended with {result.ExitCode}: {result.Error}");
        return result.Output;
    }

    /// <summary>The id of the machine that the node was told of.</summary>
    private async Task<string> CreatedAsync()
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        await _host.Node.WaitForAsync(
            node => node.Puts.TryPeek(out var put) && node.StatusOf(put.MachineId)?.State == MachineState.Started, deadline.Token);
        return _host.Node.Puts.First().MachineId;
    }
}
