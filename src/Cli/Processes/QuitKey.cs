using Microsoft.Win32.SafeHandles;

namespace Ravel.Cli.Processes;

/// <summary>Listens for q on the terminal, for a view that goes on until somebody has seen enough.</summary>
internal sealed class QuitKey : IAsyncDisposable
{
    private readonly RawTerminal? _terminal;

    private QuitKey(RawTerminal? terminal, Task pressed)
    {
        _terminal = terminal;
        Pressed = pressed;
    }

    /// <summary>Completes with the key; never without a terminal to type it on.</summary>
    public Task Pressed { get; }

    public static async Task<QuitKey> ListenAsync(CancellationToken cancellationToken)
    {
        if (Console.IsInputRedirected || await RawTerminal.EnterKeysAsync(cancellationToken) is not { } terminal)
            return new QuitKey(null, new TaskCompletionSource().Task);
        return new QuitKey(terminal, Task.Run(Listen, CancellationToken.None));
    }

    public ValueTask DisposeAsync() => _terminal?.DisposeAsync() ?? ValueTask.CompletedTask;

    /// <summary>Nobody waits for the end of a read that no key ends: the process ends under it.</summary>
    private static async Task Listen()
    {
        // Console's own stream of a terminal waits for whole lines.
        using var input = new FileStream(new SafeFileHandle(0, ownsHandle: false), FileAccess.Read, bufferSize: 0);
        for (var key = 0; key is not ('q' or 'Q');)
        {
            key = input.ReadByte();
            // The terminal is gone: a signal says so.
            if (key < 0)
                await Task.Delay(Timeout.Infinite, CancellationToken.None);
        }
    }
}
