using System.Buffers;
using System.Net.WebSockets;
using System.Text.Json;
using Google.Protobuf;
using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Machines;

/// <summary>
/// One exec, or the input of a machine's workload, over a WebSocket, carried to and from the node's gRPC stream
/// (<see cref="ExecControl"/> has the messages). Both directions wait for their receiver, so a slow one holds up its sender and
/// nobody else. An exec ends with its command, an attach with its client: either way the client going away cancels the call to the node.
/// </summary>
internal sealed class ExecSession(WebSocket socket, Rpc.Node.NodeClient client, string machineId, TimeProvider time)
{
    private const int MaxControlBytes = 512 << 10;
    private const byte StdinChannel = 0;
    private const byte StdoutChannel = 1;
    private const byte StderrChannel = 2;

    private static readonly TimeSpan CloseLimit = TimeSpan.FromSeconds(5);

    private readonly byte[] _buffer = new byte[64 << 10];
    private Task _input = Task.CompletedTask;
    private bool _isCallOver;

    /// <summary>A command: the client's first message says which.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => RunAsync(RunCommandAsync, cancellationToken);

    /// <summary>The input of the workload, for as long as the client likes.</summary>
    public Task AttachAsync(CancellationToken cancellationToken) => RunAsync(
        async ending =>
        {
            using var call = client.Attach(cancellationToken: ending.Token);
            await call.RequestStream.WriteAsync(new Rpc.ExecInput { Start = new Rpc.ExecStart { MachineId = machineId } }, ending.Token);
            return await PumpAsync(call, takesStdin: true, ending);
        },
        cancellationToken);

    private async Task RunAsync(Func<CancellationTokenSource, Task<ExecControl>> run, CancellationToken cancellationToken)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        ExecControl last;
        var status = WebSocketCloseStatus.NormalClosure;
        try
        {
            last = await run(ending);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested && socket.State is WebSocketState.Open)
        {
            last = new ExecControl { Problem = ProblemMapper.FromException(e, null) };
            status = WebSocketCloseStatus.PolicyViolation;
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or RpcException)
        {
            // The client is gone: nobody to tell.
            return;
        }
        await SendAsync(last, cancellationToken);
        await socket.CloseOutputAsync(status, null, cancellationToken);
        await DrainAsync(cancellationToken);
    }

    private async Task<ExecControl> RunCommandAsync(CancellationTokenSource ending)
    {
        var received = await socket.ReceiveAsync(_buffer.AsMemory(), ending.Token);
        if (received.MessageType != WebSocketMessageType.Text)
            throw ProblemException.Invalid("The first message must be text: an exec request.");
        var first = await RestOfTextAsync(received, ending.Token);
        var request = JsonSerializer.Deserialize(first.Span, ApiJson.Default.ExecRequest) ?? throw ProblemException.Invalid("The exec request is null.");
        using var call = client.Exec(cancellationToken: ending.Token);
        await call.RequestStream.WriteAsync(new Rpc.ExecInput { Start = ExecEndpoints.Start(machineId, request) }, ending.Token);
        if (!request.AttachStdin)
            await WriteAsync(call.RequestStream, new Rpc.ExecInput { StdinClosed = true }, ending.Token);
        return await PumpAsync(call, request.AttachStdin, ending);
    }

    private async Task<ExecControl> PumpAsync(
        AsyncDuplexStreamingCall<Rpc.ExecInput, Rpc.ExecOutput> call, bool takesStdin, CancellationTokenSource ending)
    {
        _input = PumpInputAsync(call.RequestStream, takesStdin, ending);
        try
        {
            return await PumpOutputAsync(call.ResponseStream, ending.Token);
        }
        catch (Exception) when (ending.IsCancellationRequested)
        {
            // The input side ended the session: what it has to say is the cause, the cancelled output only its effect.
            await _input;
            throw;
        }
    }

    /// <summary>
    /// Reads until the client has closed its side too. Closing a connection with unread data resets it, and a reset can overtake the
    /// exit code on its way.
    /// </summary>
    private async Task DrainAsync(CancellationToken cancellationToken)
    {
        using var deadline = new CancellationTokenSource(CloseLimit, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            await _input.WaitAsync(either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            while (_input.IsCompleted && socket.State is WebSocketState.CloseSent)
                await socket.ReceiveAsync(_buffer.AsMemory(), either.Token);
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException)
        {
            // It did not close in time; the connection is cut.
        }
    }

    private async Task<ExecControl> PumpOutputAsync(IAsyncStreamReader<Rpc.ExecOutput> output, CancellationToken cancellationToken)
    {
        while (await output.MoveNext(cancellationToken))
        {
            var message = output.Current;
            switch (message.KindCase)
            {
                case Rpc.ExecOutput.KindOneofCase.Stdout:
                    await SendAsync(StdoutChannel, message.Stdout, cancellationToken);
                    break;
                case Rpc.ExecOutput.KindOneofCase.Stderr:
                    await SendAsync(StderrChannel, message.Stderr, cancellationToken);
                    break;
                case Rpc.ExecOutput.KindOneofCase.Exit:
                    var exit = message.Exit;
                    return new ExecControl { ExitCode = exit.Code, ExitSignal = exit.Signal == 0 ? null : exit.Signal };
            }
        }
        throw new ProblemException(ProblemCodes.GuestFailed, "The node ended the session without the command's exit status.");
    }

    private async Task PumpInputAsync(IClientStreamWriter<Rpc.ExecInput> input, bool takesStdin, CancellationTokenSource ending)
    {
        try
        {
            while (true)
            {
                var received = await socket.ReceiveAsync(_buffer.AsMemory(), ending.Token);
                switch (received.MessageType)
                {
                    case WebSocketMessageType.Close:
                        // Before the command ended this is the client giving up; after it, the answer to our own close.
                        await ending.CancelAsync();
                        return;
                    case WebSocketMessageType.Binary:
                        await PumpStdinAsync(input, takesStdin, received, ending.Token);
                        break;
                    default:
                        await ControlAsync(input, await RestOfTextAsync(received, ending.Token), ending.Token);
                        break;
                }
            }
        }
        catch
        {
            await ending.CancelAsync();
            throw;
        }
    }

    /// <summary>A message of any length, passed on piece by piece; its first byte is the channel.</summary>
    private async Task PumpStdinAsync(
        IClientStreamWriter<Rpc.ExecInput> input, bool takesStdin, ValueWebSocketReceiveResult received, CancellationToken cancellationToken)
    {
        if (!takesStdin)
            throw ProblemException.Invalid("This session was opened without attach_stdin.");
        // An empty fragment has no channel byte yet.
        while (received.Count == 0 && !received.EndOfMessage)
            received = await socket.ReceiveAsync(_buffer.AsMemory(), cancellationToken);
        if (received.Count == 0 || _buffer[0] != StdinChannel)
            throw ProblemException.Invalid("Binary messages must begin with channel byte 0, standard input.");
        var skip = 1;
        while (true)
        {
            if (received.Count > skip)
            {
                var data = ByteString.CopyFrom(_buffer, skip, received.Count - skip);
                await WriteAsync(input, new Rpc.ExecInput { Stdin = data }, cancellationToken);
            }
            if (received.EndOfMessage)
                return;
            skip = 0;
            received = await socket.ReceiveAsync(_buffer.AsMemory(), cancellationToken);
        }
    }

    private async Task ControlAsync(IClientStreamWriter<Rpc.ExecInput> input, ReadOnlyMemory<byte> text, CancellationToken cancellationToken)
    {
        var control = JsonSerializer.Deserialize(text.Span, ApiJson.Default.ExecControl) ?? throw ProblemException.Invalid("The control message is null.");
        if (control.Signal is not null)
        {
            var signal = MachineConfigRules.CheckSignal(control.Signal) ?? throw ProblemException.Invalid("signal must not be empty.");
            await WriteAsync(input, new Rpc.ExecInput { Signal = signal }, cancellationToken);
        }
        if (ExecEndpoints.TerminalSize(control.Columns, control.Rows) is { } size)
            await WriteAsync(input, new Rpc.ExecInput { Resize = size }, cancellationToken);
        if (control.StdinClosed)
            await WriteAsync(input, new Rpc.ExecInput { StdinClosed = true }, cancellationToken);
    }

    /// <summary>
    /// A command may end while its input is still coming. The call takes no more then, and that must not cut off the output and the
    /// exit code that are still to be read: the rest of the input is dropped.
    /// </summary>
    private async Task WriteAsync(IClientStreamWriter<Rpc.ExecInput> input, Rpc.ExecInput message, CancellationToken cancellationToken)
    {
        if (_isCallOver)
            return;
        try
        {
            await input.WriteAsync(message, cancellationToken);
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException && !cancellationToken.IsCancellationRequested)
        {
            _isCallOver = true;
        }
    }

    private async Task<ReadOnlyMemory<byte>> RestOfTextAsync(ValueWebSocketReceiveResult received, CancellationToken cancellationToken)
    {
        if (received.EndOfMessage)
            return _buffer.AsMemory(0, received.Count);
        var whole = new ArrayBufferWriter<byte>(_buffer.Length * 2);
        whole.Write(_buffer.AsSpan(0, received.Count));
        while (!received.EndOfMessage)
        {
            received = await socket.ReceiveAsync(_buffer.AsMemory(), cancellationToken);
            whole.Write(_buffer.AsSpan(0, received.Count));
            if (whole.WrittenCount > MaxControlBytes)
                throw ProblemException.Invalid($"A text message must not be larger than {MaxControlBytes >> 10} KiB.");
        }
        return whole.WrittenMemory;
    }

    private async Task SendAsync(byte channel, ByteString data, CancellationToken cancellationToken)
    {
        var message = ArrayPool<byte>.Shared.Rent(data.Length + 1);
        try
        {
            message[0] = channel;
            data.Span.CopyTo(message.AsSpan(1));
            await socket.SendAsync(message.AsMemory(0, data.Length + 1), WebSocketMessageType.Binary, true, cancellationToken);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(message);
        }
    }

    private Task SendAsync(ExecControl control, CancellationToken cancellationToken) =>
        socket.SendAsync(
            JsonSerializer.SerializeToUtf8Bytes(control, ApiJson.Default.ExecControl), WebSocketMessageType.Text, true, cancellationToken);
}
