using System.Buffers;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using Ravel.Linux.Processes;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Qemu;

/// <summary>
/// A connection to QEMU's monitor: the QEMU Machine Protocol, one JSON object per line (QEMU docs/interop/qmp-spec). QEMU serves
/// one connection at a time. A QEMU that a guest has taken over is hostile: lines, waits and nesting are bounded.
/// </summary>
internal sealed class QmpClient : IAsyncDisposable
{
    private const int MaxLine = 1024 * 1024;

    private static readonly TimeSpan ReplyTimeout = TimeSpan.FromSeconds(30);

    private readonly NetworkStream _stream;
    private readonly TimeProvider _time;
    private readonly Action<string, JsonElement> _onEvent;
    private readonly SemaphoreSlim _turn = new(1);
    private readonly CancellationTokenSource _closed = new();
    private readonly TaskCompletionSource<JsonElement> _greeting = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _gate = new();
    private TaskCompletionSource<JsonElement>? _reply;
    private string? _broken;
    private long _nextId;
    private long _awaitedId;
    private Task _reading = Task.CompletedTask;

    private QmpClient(NetworkStream stream, TimeProvider time, Action<string, JsonElement> onEvent)
    {
        _stream = stream;
        _time = time;
        _onEvent = onEvent;
    }

    /// <summary>QEMU's version: 7.2.22.</summary>
    public string Version { get; private set; } = "";

    /// <summary>Connects, waits for the greeting and enters command mode.</summary>
    /// <param name="onEvent">Called for each event, on the reading loop: must not block.</param>
    /// <exception cref="VmmException">Nobody answers as QEMU would.</exception>
    public static async Task<QmpClient> ConnectAsync(
        string path, TimeProvider time, Action<string, JsonElement> onEvent, CancellationToken cancellationToken)
    {
        NetworkStream stream;
        try
        {
            stream = await UnixListener.ConnectAsync(path, cancellationToken).ConfigureAwait(false);
        }
        catch (SocketException e)
        {
            throw new VmmException($"QEMU does not answer at {path}: {e.Message}", e);
        }
        var client = new QmpClient(stream, time, onEvent);
        try
        {
            client._reading = client.ReadAsync();
            var greeting = await client._greeting.Task.WaitAsync(ReplyTimeout, time, cancellationToken).ConfigureAwait(false);
            client.Version = ReadVersion(greeting);
            await client.ExecuteAsync("qmp_capabilities", null, cancellationToken).ConfigureAwait(false);
            return client;
        }
        catch (TimeoutException e)
        {
            await client.DisposeAsync().ConfigureAwait(false);
            throw new VmmException($"QEMU does not answer at {path} within {ReplyTimeout.TotalSeconds:0} s", e);
        }
        catch
        {
            await client.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Hands QEMU an open file, for a command that names it (getfd).</summary>
    /// <exception cref="VmmException">QEMU refused, with its words, or is gone.</exception>
    public Task PassAsync(string name, SafeHandle file, CancellationToken cancellationToken) =>
        ExecuteAsync("getfd", writer => writer.WriteString("fdname", name), file, cancellationToken);

    /// <summary>Runs a command and returns what it returned.</summary>
    /// <exception cref="VmmException">QEMU refused, with its words, or is gone.</exception>
    public Task<JsonElement> ExecuteAsync(string command, Action<Utf8JsonWriter>? arguments, CancellationToken cancellationToken) =>
        ExecuteAsync(command, arguments, null, cancellationToken);

    private async Task<JsonElement> ExecuteAsync(
        string command, Action<Utf8JsonWriter>? arguments, SafeHandle? file, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            Task<JsonElement> reply;
            long id;
            lock (_gate)
            {
                if (_broken is not null)
                    throw new VmmException($"QEMU cannot be told '{command}': {_broken}");
                id = _awaitedId = ++_nextId;
                _reply = new TaskCompletionSource<JsonElement>(TaskCreationOptions.RunContinuationsAsynchronously);
                reply = _reply.Task;
            }
            try
            {
                var line = Encode(command, id, arguments);
                if (file is null)
                    await _stream.WriteAsync(line, cancellationToken).ConfigureAwait(false);
                else
                    DescriptorPassing.Send(_stream.Socket, line.Span, file);
                return await reply.WaitAsync(ReplyTimeout, _time, cancellationToken).ConfigureAwait(false);
            }
            catch (IOException e)
            {
                throw new VmmException($"QEMU cannot be told '{command}': {e.Message}", e);
            }
            catch (TimeoutException e)
            {
                throw new VmmException($"QEMU did not answer '{command}' within {ReplyTimeout.TotalSeconds:0} s", e);
            }
        }
        finally
        {
            _turn.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _closed.CancelAsync().ConfigureAwait(false);
        await _stream.DisposeAsync().ConfigureAwait(false);
        await _reading.ConfigureAwait(false);
    }

    private static ReadOnlyMemory<byte> Encode(string command, long id, Action<Utf8JsonWriter>? arguments)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            writer.WriteString("execute", command);
            writer.WriteNumber("id", id);
            if (arguments is not null)
            {
                writer.WriteStartObject("arguments");
                arguments(writer);
                writer.WriteEndObject();
            }
            writer.WriteEndObject();
        }
        buffer.Write("\n"u8);
        return buffer.WrittenMemory;
    }

    private async Task ReadAsync()
    {
        var why = "the monitor's connection was closed";
        try
        {
            var buffer = new byte[4096];
            var filled = 0;
            int count;
            while ((count = await _stream.ReadAsync(buffer.AsMemory(filled), _closed.Token).ConfigureAwait(false)) > 0)
            {
                filled += count;
                var start = 0;
                int length;
                while ((length = buffer.AsSpan(start, filled - start).IndexOf((byte)'\n')) >= 0)
                {
                    Handle(buffer.AsMemory(start, length));
                    start += length + 1;
                }
                buffer.AsSpan(start, filled - start).CopyTo(buffer);
                filled -= start;
                if (filled == buffer.Length)
                {
                    if (buffer.Length >= MaxLine)
                        throw new JsonException($"a line of the monitor is longer than {MaxLine} bytes");
                    Array.Resize(ref buffer, buffer.Length * 2);
                }
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The process ended or we let go; whoever waits hears of it below.
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            why = $"its monitor sent nonsense: {e.Message}";
        }
        lock (_gate)
        {
            _broken ??= why;
            _reply?.TrySetException(new VmmException($"QEMU gave no answer: {why}"));
        }
        _greeting.TrySetException(new VmmException($"QEMU gave no greeting: {why}"));
        // Nobody may be waiting for it.
        _ = _greeting.Task.Exception;
        _ = _reply?.Task.Exception;
    }

    private void Handle(ReadOnlyMemory<byte> line)
    {
        if (line.Span.Trim((byte)'\r').IsEmpty)
            return;
        using var document = JsonDocument.Parse(line);
        var message = document.RootElement;
        if (message.TryGetProperty("event", out var name))
        {
            _onEvent(name.GetString() ?? "", message.TryGetProperty("data", out var data) ? data.Clone() : default);
        }
        else if (message.TryGetProperty("QMP", out var greeting))
        {
            _greeting.TrySetResult(greeting.Clone());
        }
        else
        {
            lock (_gate)
            {
                // The answer to a command that was given up on is nobody's.
                if (_reply is null || !message.TryGetProperty("id", out var id) || !id.TryGetInt64(out var number) || number != _awaitedId)
                    return;
                if (message.TryGetProperty("return", out var result))
                    _reply.TrySetResult(result.Clone());
                else
                    _reply.TrySetException(new VmmException($"QEMU refused: {Words(message)}"));
            }
        }
    }

    private static string Words(JsonElement message) =>
        message.TryGetProperty("error", out var error) && error.TryGetProperty("desc", out var words) ? words.GetString() ?? "" : "(no reason)";

    private static string ReadVersion(JsonElement greeting)
    {
        try
        {
            var qemu = greeting.GetProperty("version").GetProperty("qemu");
            return string.Create(
                CultureInfo.InvariantCulture,
                $"{qemu.GetProperty("major").GetInt32()}.{qemu.GetProperty("minor").GetInt32()}.{qemu.GetProperty("micro").GetInt32()}");
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new VmmException("QEMU's greeting names no version", e);
        }
    }
}
