using System.Diagnostics;
using System.Text;

namespace Ravel.Linux.Processes;

/// <summary>
/// The one way Ravel runs an external program to its end: an argument list (no shell), input, a time limit,
/// captured output, cancellation that kills the process with its children.
/// </summary>
public sealed class CommandRunner
{
    /// <summary>Captured output is cut off here; a tool that prints more is not one Ravel reads.</summary>
    public const int MaxCapturedCharacters = 16 * 1024 * 1024;

    /// <summary>Runs <paramref name="program"/> and returns how it ended, also when that was badly.</summary>
    /// <exception cref="CommandException">The program is not there, or did not end in time.</exception>
    public static async Task<CommandResult> RunAsync(
        string program,
        IReadOnlyList<string> arguments,
        string? input = null,
        TimeSpan? timeout = null,
        CancellationToken cancellationToken = default) =>
        await RunAsync(program, arguments, input, timeout, ReadAsync, cancellationToken);

    /// <summary>As the other, for a program that takes long: each line of its standard output is told as it comes, on any thread.</summary>
    /// <exception cref="CommandException">The program is not there, or did not end in time.</exception>
    public static async Task<CommandResult> RunAsync(
        string program,
        IReadOnlyList<string> arguments,
        Action<string> onLine,
        TimeSpan timeout,
        CancellationToken cancellationToken) =>
        await RunAsync(program, arguments, null, timeout, (reader, cancelled) => ReadLinesAsync(reader, onLine, cancelled), cancellationToken);

    private static async Task<CommandResult> RunAsync(
        string program,
        IReadOnlyList<string> arguments,
        string? input,
        TimeSpan? timeout,
        Func<StreamReader, CancellationToken, Task<string>> readOutput,
        CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            StandardInputEncoding = new UTF8Encoding(false),
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment["LC_ALL"] = "C";

        using var process = new Process { StartInfo = start };
        try
        {
#pragma warning disable RS0030 // The one place that starts a program it waits for.
            process.Start();
#pragma warning restore RS0030
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new CommandException($"{program} could not be run: {e.Message}", e);
        }

        var limit = timeout ?? TimeSpan.FromSeconds(30);
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(limit);
        try
        {
            var output = readOutput(process.StandardOutput, deadline.Token);
            var error = ReadAsync(process.StandardError, deadline.Token);
            try
            {
                if (input is not null)
                    await process.StandardInput.WriteAsync(input.AsMemory(), deadline.Token);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // The program ended without reading its input; its exit status says why.
            }
            await process.WaitForExitAsync(deadline.Token);
            return new CommandResult(program, process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException)
        {
            try
            {
                process.Kill(entireProcessTree: true);
            }
            catch (InvalidOperationException)
            {
                // It ended between the deadline and here.
            }
            cancellationToken.ThrowIfCancellationRequested();
            throw new CommandException($"{program} {string.Join(' ', arguments)} did not end within {limit.TotalSeconds:0.#} s");
        }
    }

    /// <summary>Runs a program that has to succeed and returns what it printed.</summary>
    /// <exception cref="CommandException">It did not; the message carries its standard error.</exception>
    public static async Task<string> RunCheckedAsync(
        string program,
        IReadOnlyList<string> arguments,
        string? input = null,
        TimeSpan? timeout = null,
        CancellationToken cancellationToken = default)
    {
        var result = await RunAsync(program, arguments, input, timeout, cancellationToken);
        if (result.ExitCode != 0)
        {
            var words = result.Error.Trim();
            throw new CommandException(
                $"{program} {string.Join(' ', arguments)} failed with {result.ExitCode}: {(words.Length > 0 ? words : "(it printed no reason)")}");
        }
        return result.Output;
    }

    private static async Task<string> ReadLinesAsync(StreamReader reader, Action<string> onLine, CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        while (await reader.ReadLineAsync(cancellationToken) is { } line)
        {
            if (text.Length < MaxCapturedCharacters)
                text.Append(line).Append('\n');
            onLine(line);
        }
        return text.ToString();
    }

    private static async Task<string> ReadAsync(StreamReader reader, CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        var buffer = new char[4096];
        int read;
        while ((read = await reader.ReadAsync(buffer.AsMemory(), cancellationToken)) > 0)
        {
            if (text.Length < MaxCapturedCharacters)
                text.Append(buffer, 0, read);
        }
        return text.ToString();
    }
}

public sealed record CommandResult(string Program, int ExitCode, string Output, string Error);

/// <summary>An external program that is missing, failed or hung. The message names it and carries its words.</summary>
public sealed class CommandException : Exception
{
    public CommandException(string message)
        : base(message)
    {
    }

    public CommandException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
