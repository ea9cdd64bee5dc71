using System.Diagnostics;
using System.Globalization;
using System.Text;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;

namespace Ravel.Testing.Cli;

/// <summary>How a run of <c>ravel</c> ended.</summary>
public sealed record RavelResult(int ExitCode, string Output, string Error);

/// <summary>Runs the real <c>ravel</c> as a process, with an environment of its own that knows of nothing on this host.</summary>
public sealed class RavelProcess : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);
    private readonly Process _process;
    private readonly Task<string> _output;
    private readonly Task<string> _error;
    private readonly StringBuilder _outputSoFar = new();
    private readonly StringBuilder _errorSoFar = new();
    private readonly SemaphoreSlim _more = new(0);

    private RavelProcess(Process process)
    {
        _process = process;
        _output = ReadAsync(process.StandardOutput, _outputSoFar);
        _error = ReadAsync(process.StandardError, _errorSoFar);
    }

    /// <summary>What <c>./dev build</c> published, unless the sources are newer; then what the compiler left.</summary>
    public static string Binary { get; } = FindBinary();

    public int Pid => _process.Id;

    public Stream Input => _process.StandardInput.BaseStream;

    /// <summary>Starts <c>ravel</c> with <paramref name="arguments"/>; its standard streams are pipes.</summary>
    public static RavelProcess Start(IReadOnlyDictionary<string, string> environment, params string[] arguments) =>
        StartProgram(Binary, environment, arguments);

    /// <summary>Starts a program that runs <c>ravel</c> in turn, in the same environment.</summary>
    public static RavelProcess StartProgram(string program, IReadOnlyDictionary<string, string> environment, params string[] arguments)
    {
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        foreach (var name in start.Environment.Keys.Where(name => name.StartsWith("RAVEL", StringComparison.Ordinal) || name is "NO_COLOR").ToList())
            start.Environment.Remove(name);
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        var process = new Process { StartInfo = start };
#pragma warning disable RS0030 // A test of a whole program needs its streams and signals while it runs.
        process.Start();
#pragma warning restore RS0030
        return new RavelProcess(process);
    }

    public static async Task<RavelResult> RunAsync(IReadOnlyDictionary<string, string> environment, params string[] arguments)
    {
        using var process = Start(environment, arguments);
        process.Input.Close();
        return await process.WaitAsync();
    }

    public async Task<RavelResult> WaitAsync()
    {
        using var deadline = new CancellationTokenSource(Limit);
        try
        {
            await _process.WaitForExitAsync(deadline.Token);
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"ravel did not end.\nOutput: {_outputSoFar}\nError: {_errorSoFar}");
        }
        return new RavelResult(_process.ExitCode, await _output, await _error);
    }

    /// <summary>Returns once the output or the errors so far contain <paramref name="text"/>.</summary>
    public async Task UntilPrintedAsync(string text)
    {
        using var deadline = new CancellationTokenSource(Limit);
        while (true)
        {
            lock (_outputSoFar)
            {
                if (_outputSoFar.ToString().Contains(text, StringComparison.Ordinal) || _errorSoFar.ToString().Contains(text, StringComparison.Ordinal))
                    return;
            }
            if (_output.IsCompleted && _error.IsCompleted)
                throw new InvalidOperationException($"ravel ended without printing '{text}'.\nOutput: {_outputSoFar}\nError: {_errorSoFar}");
            await _more.WaitAsync(deadline.Token);
        }
    }

    /// <summary>Closes the reading end of its standard output, as <c>head</c> does.</summary>
    public void CloseOutput() => _process.StandardOutput.Dispose();

    public Task SignalAsync(string name) =>
        CommandRunner.RunCheckedAsync("sh", ["-c", "kill -\"$0\" \"$1\"", name, _process.Id.ToString(CultureInfo.InvariantCulture)]);

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        _process.Dispose();
        _more.Dispose();
    }

    private async Task<string> ReadAsync(StreamReader reader, StringBuilder soFar)
    {
        var buffer = new char[4096];
        try
        {
            int read;
            while ((read = await reader.ReadAsync(buffer)) > 0)
            {
                lock (_outputSoFar)
                    soFar.Append(buffer, 0, read);
                _more.Release();
            }
        }
        catch (Exception e) when (e is ObjectDisposedException or IOException)
        {
            // CloseOutput.
        }
        _more.Release();
        lock (_outputSoFar)
            return soFar.ToString();
    }

    private static string FindBinary()
    {
        var root = RepositoryRoot.Path;
        var published = Path.Combine(root, "artifacts/bin/ravel");
        var newestSource = new[] { "src/Cli", "src/Contracts" }
            .SelectMany(directory => Directory.EnumerateFiles(Path.Combine(root, directory), "*.cs", SearchOption.AllDirectories))
            .Max(File.GetLastWriteTimeUtc);
        if (File.Exists(published) && File.GetLastWriteTimeUtc(published) > newestSource)
            return published;
        string[] built = ["debug_linux-x64", "release_linux-x64"];
        return built
            .Select(configuration => Path.Combine(root, "artifacts/dotnet/bin/Cli", configuration, "ravel"))
            .Where(File.Exists)
            // What the compiler leaves is a launcher that hardly changes, and ravel.dll.
            .OrderByDescending(path => File.GetLastWriteTimeUtc($"{path}.dll"))
            .FirstOrDefault() ?? throw new FileNotFoundException("ravel has not been built; run ./dev build");
    }
}
