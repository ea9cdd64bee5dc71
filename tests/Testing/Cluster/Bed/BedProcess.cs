using System.Diagnostics;
using Ravel.Linux.Processes;

namespace Ravel.Testing.Cluster.Bed;

/// <summary>A program of the bed that runs on: inside a network namespace, its output at the end of a file.</summary>
internal sealed class BedProcess : IDisposable
{
    /// <summary>exec all the way, so that the pid stays the one of the child; nothing here holds its output open.</summary>
    private const string Script = "exec </dev/null >>\"$0\" 2>&1; exec setsid nsenter \"$@\"";

    private readonly Process _process;

    private BedProcess(Process process) => _process = process;

    public int Pid => _process.Id;

    public bool HasExited => _process.HasExited;

    public static BedProcess Start(string networkNamespace, string log, IReadOnlyList<string> variables, string program, IReadOnlyList<string> arguments)
    {
        var start = new ProcessStartInfo("/bin/sh");
        foreach (var word in (string[])["-c", Script, log, $"--net=/run/netns/{networkNamespace}", "env", "DOTNET_EnableDiagnostics=0", .. variables, program, .. arguments])
            start.ArgumentList.Add(word);
#pragma warning disable RS0030 // A test's own background process, ended by the bed.
        return new BedProcess(Process.Start(start)!);
#pragma warning restore RS0030
    }

    /// <param name="signal">As kill(1) takes it.</param>
    public async Task SignalAsync(string signal)
    {
        if (!_process.HasExited)
            await CommandRunner.RunAsync("kill", ["-s", signal, Pid.ToString()]);
    }

    /// <summary>Its exit code, once it ends.</summary>
    public async Task<int> WaitAsync()
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        await _process.WaitForExitAsync(deadline.Token);
        return _process.ExitCode;
    }

    public void Dispose() => _process.Dispose();
}
