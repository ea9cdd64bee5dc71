using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Ravel.Contracts.Api;
using Ravel.Testing.Cli;

namespace Ravel.Integration.Cli;

public sealed class ConnectionTests : IAsyncLifetime
{
    private readonly string _home = Directory.CreateTempSubdirectory("ravel-cli-").FullName;
    private FakeApi _api = null!;

    public async ValueTask InitializeAsync()
    {
        _api = await FakeApi.StartAsync();
        _api.OnMachines(SampleMachines.Started("abc00000000001", "web"));
    }

    public async ValueTask DisposeAsync()
    {
        await _api.DisposeAsync();
        Directory.Delete(_home, recursive: true);
    }

    [Theory]
    [InlineData("ps", 1)]
    [InlineData("run", 125)]
    public async Task A_server_that_is_not_there_is_said_in_one_line(string command, int exitCode)
    {
        _api.Environment["RAVEL_SERVER"] = $"http://127.0.0.1:{FreePort()}";

        var result = await _api.RavelAsync(command == "run" ? ["run", "img"] : ["ps"]);

        Assert.Equal((exitCode, ""), (result.ExitCode, result.Output));
        Assert.Equal($"ravel: server: {_api.Environment["RAVEL_SERVER"]} cannot be reached; is it up? run: ravel up\n", result.Error);
    }

    [Fact]
    public async Task A_wrong_token_is_said_in_one_line_with_a_remedy()
    {
        var result = await _api.RavelAsync("ps", "--token", "wrong");

        Assert.Equal(1, result.ExitCode);
        Assert.Equal("ravel: machines: The token is not valid; give a valid token with --token or RAVEL_TOKEN, or run `ravel up` again\n", result.Error);
    }

    [Fact]
    public async Task Nothing_up_is_said_in_one_line()
    {
        _api.Environment["RAVEL_SERVER"] = "";
        _api.Environment["RAVEL_DATA"] = _home;

        var result = await _api.RavelAsync("ps");

        Assert.Equal((1, $"ravel: server: none has been brought up in {_home}; is it up? run: ravel up\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task Server_and_token_come_from_the_data_directory()
    {
        _api.Environment["RAVEL_SERVER"] = "";
        _api.Environment["RAVEL_TOKEN"] = "";
        WriteClient(_home, Environment.ProcessId, 1);

        var result = await _api.RavelAsync("--data", _home, "ps", "-q");

        Assert.Equal((0, "abc00000000001\n"), (result.ExitCode, result.Output));
    }

    [Fact]
    public async Task The_namespace_goes_into_every_request()
    {
        await _api.RavelAsync("--namespace", "team a", "ps");

        Assert.Equal("?namespace=team%20a", Assert.Single(_api.Requests).Query);
    }

    [Theory]
    [InlineData("text/html", "<h1>Bad Gateway</h1>")]
    [InlineData("application/json", "{\"title\":1}")]
    [InlineData("application/problem+json", "nonsense")]
    public async Task An_answer_that_is_no_problem_document_is_still_one_line(string type, string body)
    {
        _api.On("GET /v1/machines", async http =>
        {
            http.Response.StatusCode = 502;
            http.Response.ContentType = type;
            await http.Response.WriteAsync(body);
        });

        var result = await _api.RavelAsync("ps");

        Assert.Equal((1, "ravel: machines: the server answered 502 Bad Gateway; see raveld.log in the data directory\n"), (result.ExitCode, result.Error));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[{]")]
    [InlineData("{\"machines\":[]}")]
    public async Task A_success_that_is_not_understood_is_an_error(string body)
    {
        _api.On("GET /v1/machines", async http =>
        {
            http.Response.ContentType = "application/json";
            await http.Response.WriteAsync(body);
        });

        var result = await _api.RavelAsync("ps");

        Assert.Equal((1, ""), (result.ExitCode, result.Output));
        Assert.StartsWith("ravel: machines: the server's answer is not what this version of ravel understands", result.Error);
        Assert.Single(result.Error.TrimEnd().Split('\n'));
    }

    [Fact]
    public async Task Info_shows_the_node_and_what_is_allocated()
    {
        var node = new NodeSummary
        {
            Id = "node-1",
            Vmm = "qemu",
            VmmVersion = "7.2",
            Accelerator = "tcg",
            Architecture = "x86_64",
            Capacity = new NodeResources(8, 24 * 1024, 100 * 1024, 64),
            Allocated = new NodeResources(2, 512, 2048, 2),
        };
        _api.OnJson("GET /v1/server", new ServerInfo { Version = "0.1.0", Node = node }, ApiJson.Default.ServerInfo);

        var result = await _api.RavelAsync("info");

        Assert.Equal(
            $"""
            Server:    {_api.Url}, version 0.1.0
            Node:      node-1 (x86_64)
            VMM:       qemu 7.2, tcg
            Machines:  2
            CPUs:      2 of 8 allocated
            Memory:    512 MiB of 24 GiB allocated
            Disk:      2048 MiB of 100 GiB allocated

            """,
            result.Output);
    }

    [Fact]
    public async Task Down_where_nothing_is_up_says_so_and_succeeds()
    {
        var result = await _api.RavelAsync("down", "--data", _home);

        Assert.Equal((0, $"Ravel is not up (data in {_home}).\n", ""), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public async Task Down_takes_a_pid_that_another_process_has_now_for_not_up()
    {
        WriteClient(_home, Environment.ProcessId, startTime: 1);

        var result = await _api.RavelAsync("down", "--data", _home);

        Assert.Contains("not up", result.Output);
        Assert.Empty(_api.Requests);
    }

    private void WriteClient(string directory, int pid, ulong startTime) => File.WriteAllText(
        Path.Combine(directory, "client.json"),
        JsonSerializer.Serialize(
            new ClientConfig { Server = _api.Url, Token = FakeApi.Token, DataDirectory = directory, Pid = pid, PidStartTime = startTime },
            ApiJson.Default.ClientConfig));

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
