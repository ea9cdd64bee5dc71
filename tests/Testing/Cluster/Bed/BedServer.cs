using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.Linux.Processes;
using Ravel.Testing.EndToEnd;

namespace Ravel.Testing.Cluster.Bed;

/// <summary>A server of the bed: <c>raveld server</c> in a network namespace of its own.</summary>
public sealed class BedServer
{
    private readonly BedNetwork _network;
    private readonly string _place;
    private readonly IReadOnlyList<string> _options;
    private readonly string _database;
    private BedProcess? _process;

    internal BedServer(BedNetwork network, string name, string place, string address, string directory, string database, IReadOnlyList<string> options)
    {
        (_network, Name, _place, Address, DataDirectory, _database, _options) = (network, name, place, address, directory, database, options);
        Directory.CreateDirectory(directory);
    }

    public string Name { get; }

    /// <summary>Its address on the bed's network.</summary>
    public string Address { get; }

    public string DataDirectory { get; }

    public string LogFile => Path.Combine(DataDirectory, "raveld.log");

    public string Api => $"http://{Address}:7717";

    public string Hub => $"https://{Address}:7718";

    public bool IsRunning => _process is { HasExited: false };

    /// <summary>Starts it, and returns when it serves.</summary>
    public async Task StartAsync()
    {
        _process?.Dispose();
        _process = BedProcess.Start(
            _place, LogFile, [$"RAVEL_DATABASE={_database}"], Path.Combine(RavelHost.Binaries, "raveld"),
            ["server", "--data", DataDirectory, "--listen", $"{Address}:7717", "--hub-listen", $"{Address}:7718", .. _options]);
        await Until.TrueAsync(() => _process.HasExited
            ? throw new InvalidOperationException($"{Name} ended: {File.ReadAllText(LogFile)}")
            : Client()?.Pid == _process.Pid);
    }

    /// <summary>SIGKILL.</summary>
    public Task KillAsync() => EndAsync("KILL");

    /// <summary>SIGTERM.</summary>
    public Task StopAsync() => EndAsync("TERM");

    /// <summary>Takes its cable out: it runs on, and nobody reaches it or the database from it.</summary>
    public Task CutAsync() => _network.UnplugAsync(Name);

    public Task MendAsync() => _network.PlugAsync(Name);

    /// <summary>Runs <c>ravel</c> with this server, as its administrator.</summary>
    public Task<CommandResult> RavelAsync(params string[] arguments) => RavelAsync(arguments, TimeSpan.FromMinutes(2));

    public Task<CommandResult> RavelAsync(IReadOnlyList<string> arguments, TimeSpan timeout) =>
        CommandRunner.RunAsync("nsenter", [.. Inside(arguments)], timeout: timeout);

    /// <summary>Runs <c>ravel</c>, which has to succeed, and returns what it printed.</summary>
    public async Task<string> RavelOkAsync(params string[] arguments)
    {
        var result = await RavelAsync(arguments);
        return result.ExitCode == 0
            ? result.Output
            : throw new InvalidOperationException($"ravel {string.Join(' ', arguments)} at {Name} failed with {result.ExitCode}: {result.Error}{result.Output}");
    }

    /// <summary>Starts <c>ravel</c> with this server and reads its output line by line.</summary>
    public BackgroundProgram StartRavel(params string[] arguments) => new("nsenter", [.. Inside(arguments)]);

    /// <summary>What <c>ravel node ls</c> says here.</summary>
    public async Task<IReadOnlyList<Node>> NodesAsync() =>
        JsonSerializer.Deserialize(await RavelOkAsync("node", "ls", "--json"), ApiJson.Default.IReadOnlyListNode)!;

    /// <summary>What <c>ravel inspect</c> says of a machine here.</summary>
    public async Task<Machine> InspectAsync(string machine)
    {
        using var document = JsonDocument.Parse(await RavelOkAsync("inspect", machine, "--json"));
        var element = document.RootElement.ValueKind == JsonValueKind.Array ? document.RootElement[0] : document.RootElement;
        return element.Deserialize(ApiJson.Default.Machine)!;
    }

    /// <summary>What the server wrote for its clients; null before it serves.</summary>
    public ClientConfig? Client()
    {
        var path = Path.Combine(DataDirectory, "client.json");
        return File.Exists(path) ? JsonSerializer.Deserialize(File.ReadAllText(path), ApiJson.Default.ClientConfig) : null;
    }

    private IEnumerable<string> Inside(IReadOnlyList<string> arguments) =>
        [
            $"--net=/run/netns/{_place}", "env", "-u", "RAVEL_SERVER", "-u", "RAVEL_TOKEN", $"HOME={DataDirectory}", "NO_COLOR=1", $"RAVEL_DATA={DataDirectory}",
            Path.Combine(RavelHost.Binaries, "ravel"), .. arguments,
        ];

    private async Task EndAsync(string signal)
    {
        if (_process is null)
            return;
        await _process.SignalAsync(signal);
        await _process.WaitAsync();
    }
}
