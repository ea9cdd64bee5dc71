using System.Net.WebSockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using Ravel.Cli.Errors;
using Ravel.Cli.Parsing;
using Ravel.Cli.Processes;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>
/// One command in a machine over a WebSocket (see <see cref="ExecControl"/>): our standard streams are its, signals go to it, and
/// its exit code is ours.
/// </summary>
internal sealed class ExecSession
{
    private const int ChunkBytes = 32 * 1024;
    private const int MaxControlBytes = 1024 * 1024;
    private const byte StdoutChannel = 1;
    private const byte StderrChannel = 2;

    private readonly Session _session;
    private readonly Machine _machine;
    private readonly ExecRequest _request;

    public ExecSession(Session session, Machine machine, ExecRequest request)
    {
        _session = session;
        _machine = machine;
        _request = request;
    }

    public async Task<int> RunAsync()
    {
        using var socket = await _session.Api.OpenExecAsync(_machine, _session.Cancelled);
        using var input = new InputSocket(socket);
        await input.SendAsync(WebSocketMessageType.Text, JsonSerializer.SerializeToUtf8Bytes(_request, ApiJson.Default.ExecRequest));
        _session.Interrupts.Take((signal, count) => OnSignal(input, signal, count));
        await using var raw = _request is { Tty: true, AttachStdin: true } ? await RawTerminal.EnterAsync(CancellationToken.None) : null;
        using var resized = _request.Tty
            ? PosixSignalRegistration.Create(PosixSignal.SIGWINCH, context => _ = input.ResizeAsync())
            : null;
        // Never awaited: a read of standard input can't be cancelled, and ends with the process.
        if (_request.AttachStdin)
            _ = Task.Run(() => InputSocket.PumpAsync(() => input, detachable: false));
        return await ReceiveAsync(socket);
    }

    private async Task<int> ReceiveAsync(WebSocket socket)
    {
        await using var error = Console.OpenStandardError();
        var buffer = new byte[ChunkBytes];
        var text = new MemoryStream();
        Stream? to = null;
        var isStart = true;
        while (true)
        {
            ValueWebSocketReceiveResult received;
            try
            {
                received = await socket.ReceiveAsync(buffer.AsMemory(), CancellationToken.None);
            }
            catch (WebSocketException e)
            {
                throw Lost(e.Message);
            }
            var data = buffer.AsMemory(0, received.Count);
            switch (received.MessageType)
            {
                case WebSocketMessageType.Close:
                    throw Lost(socket.CloseStatusDescription is { Length: > 0 } why ? why : "closed before the command's end");

                case WebSocketMessageType.Binary:
                    if (isStart && data.Length > 0)
                    {
                        to = data.Span[0] switch { StdoutChannel => _session.Terminal.Stream, StderrChannel => error, _ => null };
                        data = data[1..];
                        isStart = false;
                    }
                    if (to is not null && data.Length > 0)
                    {
                        await to.WriteAsync(data);
                        await to.FlushAsync();
                    }
                    break;

                case WebSocketMessageType.Text:
                    if (text.Length + data.Length > MaxControlBytes)
                        throw Lost("a message is too long");
                    text.Write(data.Span);
                    if (received.EndOfMessage)
                    {
                        if (ExitCodeOf(text.ToArray()) is { } code)
                            return code;
                        text.SetLength(0);
                    }
                    break;
            }
            if (received.EndOfMessage)
                isStart = true;
        }
    }

    /// <summary>The exit code that a control message carries, if it does.</summary>
    private int? ExitCodeOf(byte[] json)
    {
        ExecControl? control;
        try
        {
            control = JsonSerializer.Deserialize(json, ApiJson.Default.ExecControl);
        }
        catch (JsonException)
        {
            throw Lost("a message is not JSON");
        }
        if (control?.Problem is { } problem)
            throw new ProblemException(_machine.Name, problem);
        return control switch
        {
            { ExitCode: { } code } => code,
            { ExitSignal: { } signal } => 128 + signal,
            _ => null,
        };
    }

    private void OnSignal(InputSocket input, PosixSignal signal, int count)
    {
        // Whoever asks three times wants out, whether the command listens or not.
        if (count >= 3)
            Environment.Exit(_session.Interrupts.ExitCode);
        _ = input.ControlAsync(new ExecControl { Signal = signal == PosixSignal.SIGINT ? "SIGINT" : "SIGTERM" });
    }

    private CliException Lost(string why) =>
        new(_machine.Name, $"the session broke off: {why.TrimEnd('.')}", $"see: ravel logs {_machine.Name}", ExitCodes.CouldNotRun);
}
