namespace Ravel.Cli.Processes;

/// <summary>
/// Puts the terminal into raw mode for an interactive <c>exec</c> and back again, with stty: system calls belong to Linux,
/// which this project may not reference, and every host has coreutils.
/// </summary>
internal sealed class RawTerminal : IAsyncDisposable
{
    private readonly string _before;

    private RawTerminal(string before) => _before = before;

    /// <summary>Null when standard input is no terminal after all.</summary>
    public static async Task<RawTerminal?> EnterAsync(CancellationToken cancellationToken)
    {
        if (await Programs.CaptureAsync("stty", ["-g"], cancellationToken, quiet: true) is not (0, var before))
            return null;
        await Programs.CaptureAsync("stty", ["raw", "-echo"], cancellationToken);
        return new RawTerminal(before.Trim());
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

    public async ValueTask DisposeAsync() => await Programs.CaptureAsync("stty", [_before], CancellationToken.None);
}
