using System.Net.WebSockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using Ravel.Cli.Parsing;
using Ravel.Cli.Processes;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>
/// Our standard input and the size of our terminal, for a machine's workload. What it prints comes from its log. A terminal is
/// attached again when the connection breaks, as when the daemon is replaced; a pipe is not: what was on its way is lost, and a
/// workload must not take what is left for the whole.
/// </summary>
internal sealed class WorkloadInput : IAsyncDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(500);

    private readonly Session _session;
    private readonly Machine _machine;
    private readonly bool _stdin;
    private readonly bool _tty;
    private readonly TaskCompletionSource _detached = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _ending = new();
    private RawTerminal? _raw;
    private PosixSignalRegistration? _resized;
    private volatile InputSocket? _current;
    private bool _isPumping;

    public WorkloadInput(Session session, Machine machine, bool stdin, bool tty)
    {
        _session = session;
        _machine = machine;
        _stdin = stdin;
        _tty = tty;
    }

    /// <summary>Ends when the user detaches, and only then.</summary>
    public Task Detached => _detached.Task;

    /// <summary>Begins; when it returns, the terminal is ours until this is disposed of.</summary>
    /// <param name="over">Ends with the workload.</param>
    public async Task StartAsync(Task over)
    {
        if (_tty && _stdin)
            _raw = await RawTerminal.EnterAsync(CancellationToken.None);
        if (_tty)
            _resized = PosixSignalRegistration.Create(PosixSignal.SIGWINCH, _ => _current?.ResizeAsync());
        _ = Task.Run(() => KeepAsync(over));
    }

    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        _resized?.Dispose();
        _resized = null;
        if (_raw is { } raw)
        {
            _raw = null;
            await raw.DisposeAsync();
        }
    }

    private async Task KeepAsync(Task over)
    {
        while (!over.IsCompleted && !_ending.IsCancellationRequested)
        {
            string why;
            try
            {
                why = await AttachAsync();
            }
            catch (Exception e)
            {
                // Whatever it was: a terminal that nobody reads any more would be stuck.
                why = e.Message;
            }
            // A workload that has ended takes its input with it, and that is no news.
            await Task.WhenAny(over, Task.Delay(Pause, _session.Time, CancellationToken.None));
            if (over.IsCompleted || _ending.IsCancellationRequested)
                return;
            if (_stdin && !_tty)
            {
                _session.Terminal.Error.WriteLine($"ravel: {_machine.Name}: its standard input broke off: {why.TrimEnd('.')}");
                return;
            }
        }
    }

    /// <summary>One connection, to its end.</summary>
    /// <returns>Why it ended.</returns>
    private async Task<string> AttachAsync()
    {
        using var socket = await _session.Api.OpenAttachAsync(_machine, _ending.Token);
        var input = new InputSocket(socket);
        _current = input;
        if (_tty)
            await input.ResizeAsync();
        if (_stdin && !_isPumping)
        {
            _isPumping = true;
            // Never awaited: a read of standard input can't be cancelled, and ends with the process.
            _ = Task.Run(PumpAsync);
        }
        var buffer = new byte[64 * 1024];
        var length = 0;
        while (true)
        {
            var received = await socket.ReceiveAsync(buffer.AsMemory(length), _ending.Token);
            if (received.MessageType == WebSocketMessageType.Close)
                return socket.CloseStatusDescription is { Length: > 0 } said ? said : "the connection was closed";
            length += received.Count;
            if (received.EndOfMessage && received.MessageType == WebSocketMessageType.Text)
                return Reason(buffer.AsSpan(0, length));
            if (length == buffer.Length)
                return "a message is too long";
        }
    }

    private async Task PumpAsync()
    {
        // The terminal's keys go to whichever connection there is.
        if (await InputSocket.PumpAsync(() => _current!, detachable: _tty))
            _detached.TrySetResult();
    }

    private static string Reason(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, ApiJson.Default.ExecControl)?.Problem?.Detail ?? "the session ended";
        }
        catch (JsonException)
        {
            return "a message is not JSON";
        }
    }
}
