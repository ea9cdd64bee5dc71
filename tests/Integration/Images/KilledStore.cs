using System.Globalization;
using Ravel.KilledStore;
using Ravel.Linux.Processes;

namespace Ravel.Integration.Images;

/// <summary>One operation of the image store (<see cref="StoreOperation"/>): here, or in a process that is killed at a step.</summary>
internal static class KilledStore
{
    /// <summary>128 + SIGKILL.</summary>
    private const int Killed = 137;

    /// <summary>Does all of it, in this process.</summary>
    /// <returns>The names of its steps on disk.</returns>
    public static async Task<IReadOnlyList<string>> RunAsync(params string[] operation)
    {
        var steps = new List<string>();
        await StoreOperation.RunAsync(operation, step =>
        {
            lock (steps)
                steps.Add(step);
        });
        return steps;
    }

    /// <summary>Does it in a process of its own, which is killed right before a step; the first is 1.</summary>
    /// <returns>The step's name.</returns>
    public static async Task<string> RunToAsync(int step, IReadOnlyList<string> operation, CancellationToken cancellationToken)
    {
        var result = await CommandRunner.RunAsync(
            "env",
            // A runtime that is killed leaves the sockets for its debuggers in the temporary directory.
            ["DOTNET_EnableDiagnostics=0", Path.Combine(AppContext.BaseDirectory, "Ravel.KilledStore"), step.ToString(CultureInfo.InvariantCulture), .. operation],
            timeout: TimeSpan.FromMinutes(1),
            cancellationToken: cancellationToken);
        return result.ExitCode == Killed
            ? result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1]
            : throw new CommandException($"{string.Join(' ', operation)} was not killed at step {step}, but ended with {result.ExitCode}: {result.Error}");
    }

    /// <summary>A directory as it is, with its times.</summary>
    public static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in Directory.EnumerateFiles(from))
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        foreach (var directory in Directory.EnumerateDirectories(from))
            Copy(directory, Path.Combine(to, Path.GetFileName(directory)));
    }
}
