using Ravel.Cli.Errors;

namespace Ravel.Cli.Processes;

/// <summary>
/// Puts the terminal into raw mode for an interactive <c>exec</c> and back again, with stty: system calls belong to Linux,
/// which this project may not reference, and every host has coreutils.
/// </summary>
internal sealed class RawTerminal : IAsyncDisposable
{
    private readonly string _before;
    private int _isRestored;

    private RawTerminal(string before)
    {
        _before = before;
        // Whoever ends the process on a signal does not come back to dispose of this.
        AppDomain.CurrentDomain.ProcessExit += OnExit;
    }

    /// <summary>As docker: a terminal can only be lent if there is one.</summary>
    /// <exception cref="CliException">Input of a terminal is asked for, and ours is none.</exception>
    public static void Require(string command, bool stdin, bool tty, string remedy)
    {
        if (stdin && tty && Console.IsInputRedirected)
            throw CliException.Usage(command, "standard input is not a terminal", remedy);
    }

    /// <summary>Null when standard input is no terminal after all.</summary>
    public static Task<RawTerminal?> EnterAsync(CancellationToken cancellationToken) => EnterAsync(["raw", "-echo"], cancellationToken);

    /// <summary>As <see cref="EnterAsync(CancellationToken)"/>; keys arrive as they are typed and are not shown, and Ctrl-C is a signal still.</summary>
    public static Task<RawTerminal?> EnterKeysAsync(CancellationToken cancellationToken) => EnterAsync(["-icanon", "-echo"], cancellationToken);

    private static async Task<RawTerminal?> EnterAsync(string[] mode, CancellationToken cancellationToken)
    {
        if (await Programs.CaptureAsync("stty", ["-g"], cancellationToken, quiet: true) is not (0, var before))
            return null;
        var raw = new RawTerminal(before.Trim());
        await Programs.CaptureAsync("stty", mode, CancellationToken.None);
        return raw;
    }

    /// <summary>
    /// Columns and rows of the terminal; null when there is none, or it does not know. Console.WindowWidth would do, but
    /// switches the terminal's keypad mode on the way.
    /// </summary>
    public static async Task<(int Columns, int Rows)?> SizeAsync(CancellationToken cancellationToken)
    {
        if (await Programs.CaptureAsync("stty", ["-F", "/dev/tty", "size"], cancellationToken, quiet: true) is not (0, var text))
            return null;
        var words = text.Split(' ', StringSplitOptions.TrimEntries);
        return words.Length == 2 && int.TryParse(words[0], out var rows) && int.TryParse(words[1], out var columns) && rows > 0 && columns > 0
            ? (columns, rows)
            : null;
    }

    public async ValueTask DisposeAsync()
    {
        AppDomain.CurrentDomain.ProcessExit -= OnExit;
        if (Interlocked.Exchange(ref _isRestored, 1) == 0)
            await Programs.CaptureAsync("stty", [_before], CancellationToken.None);
    }

    private void OnExit(object? sender, EventArgs e)
    {
        if (Interlocked.Exchange(ref _isRestored, 1) != 0)
            return;
        using var stty = Programs.Start("stty", [_before], captureOutput: false);
        stty?.WaitForExit();
    }
}
