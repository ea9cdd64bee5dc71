using System.Net.WebSockets;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using Ravel.Cli.Processes;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>The sending side of an exec or attach WebSocket (see <see cref="ExecControl"/>). Sends that fail are the receiving side's to report.</summary>
internal sealed class InputSocket : IDisposable
{
    private const int ChunkBytes = 32 * 1024;
    private const byte StdinChannel = 0;

    private readonly WebSocket _socket;
    private readonly SemaphoreSlim _sending = new(1, 1);

    public InputSocket(WebSocket socket) => _socket = socket;

    public void Dispose() => _sending.Dispose();

    /// <summary>Carries our standard input to its end.</summary>
    /// <param name="current">Where to, asked for each piece.</param>
    /// <param name="detachable">Whether Ctrl-P Ctrl-Q is for us.</param>
    /// <returns>Whether it was detached.</returns>
    public static async Task<bool> PumpAsync(Func<InputSocket> current, bool detachable)
    {
        // Not Console's stream, which edits lines when it reads a terminal.
        using var input = new FileStream(new SafeFileHandle(0, ownsHandle: false), FileAccess.Read, bufferSize: 0);
        var keys = new DetachKeys();
        var buffer = new byte[1 + ChunkBytes];
        buffer[0] = StdinChannel;
        try
        {
            int read;
            // One byte is left for a Ctrl-P that was held back.
            while ((read = input.Read(buffer, 1, ChunkBytes - 1)) > 0)
            {
                var length = detachable ? keys.Filter(buffer.AsSpan(1), read) : read;
                if (length < 0)
                    return true;
                if (length > 0)
                    await current().SendAsync(WebSocketMessageType.Binary, buffer.AsMemory(0, length + 1));
            }
        }
        catch (IOException)
        {
            // A terminal that has gone is the end of the input.
        }
        await current().ControlAsync(new ExecControl { StdinClosed = true });
        return false;
    }

    public async Task ResizeAsync()
    {
        if (await RawTerminal.SizeAsync(CancellationToken.None) is var (columns, rows))
            await ControlAsync(new ExecControl { Columns = columns, Rows = rows });
    }

    public Task ControlAsync(ExecControl control) =>
        SendAsync(WebSocketMessageType.Text, JsonSerializer.SerializeToUtf8Bytes(control, ApiJson.Default.ExecControl));

    public async Task SendAsync(WebSocketMessageType type, ReadOnlyMemory<byte> message)
    {
        try
        {
            await _sending.WaitAsync();
        }
        catch (ObjectDisposedException)
        {
            return;
        }
        try
        {
            await _socket.SendAsync(message, type, endOfMessage: true, CancellationToken.None);
        }
        catch (Exception e) when (e is WebSocketException or ObjectDisposedException or InvalidOperationException)
        {
            // The receiving side reports how the session ended.
        }
        finally
        {
            _sending.Release();
        }
    }
}
