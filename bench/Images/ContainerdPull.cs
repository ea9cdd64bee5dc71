using System.Diagnostics;
using Ravel.Linux.Processes;

namespace Ravel.Bench.Images;

/// <summary>A containerd of its own, with everything in one directory, and pulls into it (overlayfs snapshotter).</summary>
internal sealed class ContainerdPull : IAsyncDisposable
{
    private const string Program = "/usr/bin/containerd";

    private readonly Process _process;
    private readonly string _socket;

    private ContainerdPull(Process process, string socket)
    {
        _process = process;
        _socket = socket;
    }

    /// <summary>Null when containerd is not installed.</summary>
    public static async Task<ContainerdPull?> StartAsync(string directory, CancellationToken cancellationToken)
    {
        if (!File.Exists(Program))
            return null;
        Directory.CreateDirectory(directory);
        var socket = Path.Combine(directory, "containerd.sock");
        var configuration = Path.Combine(directory, "config.toml");
        await File.WriteAllTextAsync(
            configuration,
            $"version = 2\nroot = \"{directory}/root\"\nstate = \"{directory}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"
            + $"[grpc]\naddress = \"{socket}\"\n",
            cancellationToken);
        // Ends with this process: its standard input is the lease on its life.
        var start = new ProcessStartInfo("/bin/sh")
        {
            ArgumentList = { "-c", $"{Program} --config \"$1\" >\"$2\" 2>&1 & read -r _; kill $!; wait", "sh", configuration, Path.Combine(directory, "log") },
            RedirectStandardInput = true,
            UseShellExecute = false,
        };
#pragma warning disable RS0030 // It runs beside the benchmark, which CommandRunner is not for.
        var process = Process.Start(start)!;
#pragma warning restore RS0030
        var pull = new ContainerdPull(process, socket);
        for (var attempt = 0; (await pull.RunAsync(["version"], cancellationToken)).ExitCode != 0; attempt++)
        {
            if (attempt == 100)
                throw new CommandException($"containerd does not answer; see {directory}/log");
            await Task.Delay(TimeSpan.FromMilliseconds(100), cancellationToken);
        }
        return pull;
    }

    public async Task<TimeSpan> MeasureAsync(string reference, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        var result = await RunAsync(["images", "pull", "--plain-http", reference], cancellationToken);
        watch.Stop();
        if (result.ExitCode != 0)
            throw new CommandException($"ctr images pull failed: {result.Error.Trim()}");
        await RunAsync(["images", "rm", "--sync", reference], cancellationToken);
        return watch.Elapsed;
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private Task<CommandResult> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken) =>
        CommandRunner.RunAsync(
            "ctr", ["--address", _socket, "--namespace", "bench", .. arguments], timeout: TimeSpan.FromMinutes(10), cancellationToken: cancellationToken);
}
