using System.ComponentModel;
using System.Diagnostics;

namespace Ravel.Cli.Processes;

/// <summary>The one place where <c>ravel</c> starts another program: an argument list, never a shell's words.</summary>
internal static class Programs
{
    /// <summary>Starts a program on the caller's own standard streams, or with its output captured.</summary>
    /// <param name="program">A path, or a name to be found in PATH.</param>
    /// <param name="arguments">Each as it shall arrive.</param>
    /// <param name="captureOutput">Whether standard output is for the caller to read.</param>
    /// <param name="quiet">Whether what it complains of is nobody's business. It must not be much: nobody reads it.</param>
    /// <returns>The running process; null when there is no such program, or it can't be executed.</returns>
    public static Process? Start(string program, IEnumerable<string> arguments, bool captureOutput, bool quiet = false)
    {
        var start = new ProcessStartInfo(program) { UseShellExecute = false, RedirectStandardOutput = captureOutput, RedirectStandardError = quiet };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        var process = new Process { StartInfo = start };
        try
        {
#pragma warning disable RS0030 // CommandRunner lives in Linux, which this project may not reference.
            process.Start();
#pragma warning restore RS0030
            return process;
        }
        catch (Win32Exception)
        {
            process.Dispose();
            return null;
        }
    }

    /// <summary>Runs a program to its end and returns what it printed; null when it isn't there.</summary>
    public static async Task<(int ExitCode, string Output)?> CaptureAsync(
        string program, IEnumerable<string> arguments, CancellationToken cancellationToken, bool quiet = false)
    {
        using var process = Start(program, arguments, captureOutput: true, quiet);
        if (process is null)
            return null;
        try
        {
            var output = await process.StandardOutput.ReadToEndAsync(cancellationToken);
            await process.WaitForExitAsync(cancellationToken);
            return (process.ExitCode, output);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }
    }
}
