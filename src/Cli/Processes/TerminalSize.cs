using System.Runtime.InteropServices;

namespace Ravel.Cli.Processes;

/// <summary>How large the terminal is; it may change.</summary>
internal interface ITerminalSize : IDisposable
{
    (int Columns, int Rows) Current { get; }
}

/// <summary>The terminal of this process, asked again when it says that it was resized (SIGWINCH).</summary>
internal sealed class WatchedTerminalSize : ITerminalSize
{
    private static readonly (int Columns, int Rows) Unknown = (80, 24);
    private readonly PosixSignalRegistration _registration;
    private readonly Lock _lock = new();
    private (int Columns, int Rows) _current;

    private WatchedTerminalSize((int Columns, int Rows) current)
    {
        _current = current;
        _registration = PosixSignalRegistration.Create(PosixSignal.SIGWINCH, context => _ = AskAsync());
    }

    public (int Columns, int Rows) Current
    {
        get
        {
            lock (_lock)
                return _current;
        }
    }

    public static async Task<WatchedTerminalSize> StartAsync(CancellationToken cancellationToken) =>
        new(await RawTerminal.SizeAsync(cancellationToken) ?? Unknown);

    public void Dispose() => _registration.Dispose();

    private async Task AskAsync()
    {
        if (await RawTerminal.SizeAsync(CancellationToken.None) is not { } size)
            return;
        lock (_lock)
            _current = size;
    }
}
