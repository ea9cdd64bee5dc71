using System.Text.Json;
using Ravel.Testing.EndToEnd;

namespace Ravel.Testing.Cluster.Bed;

/// <summary>
/// A host of the bed: <c>raveld agent</c> with a data directory, an address and a network namespace of its own, in which its taps and packet
/// rules are. Control groups and run directories are apart by its slot.
/// </summary>
public sealed class BedHost
{
    private readonly BedNetwork _network;
    private readonly string _place;
    private readonly IReadOnlyList<string> _options;
    private BedProcess? _process;

    internal BedHost(BedNetwork network, string name, string place, string address, string directory, IReadOnlyList<string> options)
    {
        (_network, Name, _place, Address, DataDirectory, _options) = (network, name, place, address, directory, options);
        Directory.CreateDirectory(directory);
    }

    public string Name { get; }

    /// <summary>Its address on the bed's network.</summary>
    public string Address { get; }

    public string DataDirectory { get; }

    public string LogFile => Path.Combine(DataDirectory, "raveld.log");

    /// <summary>Once it has joined.</summary>
    public string NodeId { get; private set; } = "";

    public bool IsRunning => _process is { HasExited: false };

    /// <summary>Starts an agent that has not joined, and returns when it has.</summary>
    public async Task JoinAsync(BedServer server)
    {
        using var token = JsonDocument.Parse(await server.RavelOkAsync("node", "join-token", "--json"));
        Start([$"RAVEL_JOIN_TOKEN={token.RootElement.GetProperty("token").GetString()}"], ["--join", server.Hub]);
        var identity = Path.Combine(DataDirectory, "agent", "identity.json");
        await Until.TrueAsync(() => _process!.HasExited
            ? throw new InvalidOperationException($"{Name} ended: {File.ReadAllText(LogFile)}")
            : File.Exists(identity));
        using var document = JsonDocument.Parse(await File.ReadAllTextAsync(identity));
        NodeId = document.RootElement.GetProperty("node_id").GetString()!;
    }

    /// <summary>Starts the agent again; it adopts what runs, and comes back by itself.</summary>
    public void Return()
    {
        if (!IsRunning)
            Start([], []);
    }

    /// <summary>SIGKILL to the agent; virtual machines run on (but those of the fake VMM, which are in it).</summary>
    public Task KillAgentAsync() => EndAsync("KILL");

    /// <summary>SIGTERM to the agent; virtual machines run on.</summary>
    public Task StopAgentAsync() => EndAsync("TERM");

    /// <summary>All that runs on the host is gone at once, as when its power fails; its disk stays.</summary>
    public async Task LoseAsync()
    {
        await BedNetwork.SignalAllAsync(_place, "KILL");
        if (_process is not null)
            await _process.WaitAsync();
    }

    /// <summary>Takes its cable out: all runs on, and nobody reaches it. Neither end is told.</summary>
    public Task CutAsync() => _network.UnplugAsync(Name);

    public Task MendAsync() => _network.PlugAsync(Name);

    /// <summary>Every packet to and from it comes so much later; zero ends that. While all is slow nothing is lost.</summary>
    public Task DelayAsync(TimeSpan delay) => _network.DelayAsync(Name, delay);

    /// <summary>Everything on the host stands still, as when it hangs; connections stay open and nobody answers.</summary>
    public Task FreezeAsync() => BedNetwork.SignalAllAsync(_place, "STOP");

    public Task ThawAsync() => BedNetwork.SignalAllAsync(_place, "CONT");

    private void Start(IReadOnlyList<string> variables, IReadOnlyList<string> options)
    {
        _process?.Dispose();
        _process = BedProcess.Start(
            _place, LogFile, variables, Path.Combine(RavelHost.Binaries, "raveld"),
            ["agent", "--data", DataDirectory, "--listen", $"{Address}:7719", .. options, .. _options]);
    }

    private async Task EndAsync(string signal)
    {
        if (_process is null)
            return;
        await _process.SignalAsync(signal);
        await _process.WaitAsync();
    }
}
