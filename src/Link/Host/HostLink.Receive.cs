using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using Ravel.Contracts.Link;

namespace Ravel.Link;

public sealed partial class HostLink
{
    private readonly ControlAssembler _control = new(MaxGuestMessage);

    // Streams that ended before they were asked for; bounded by the exec sessions the host started.
    private readonly Dictionary<uint, HostReader> _endedReaders = [];
    private long _lastHeard;

    private async Task ReceiveAsync(byte[] preamble)
    {
        // Not on the caller's thread: the channel may have much to give at once.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        try
        {
            var decoder = new FrameDecoder();
            var isFound = false;
            while (true)
            {
                var read = await _channel.ReadAsync(decoder.Free, _session.Token);
                if (read == 0)
                {
                    if (!isFound || !decoder.IsEmpty || !_guestHello.Task.IsCompleted)
                        throw new LinkException(isFound ? "the guest closed the link in the middle of a frame" : "the guest closed the link before it answered");
                    End(new LinkException("the guest closed the link"), isFault: false);
                    return;
                }
                decoder.Advance(read);
                // Until then these are an earlier session's bytes.
                isFound = isFound || decoder.TrySkipTo(preamble);
                if (!isFound)
                    continue;
                Volatile.Write(ref _lastHeard, _options.Time.GetTimestamp());
                Decode(decoder);
            }
        }
        catch (OperationCanceledException) when (_session.IsCancellationRequested)
        {
            // The session ended elsewhere.
        }
        catch (Exception e)
        {
            Fail(e);
        }
    }

    private void Decode(FrameDecoder decoder)
    {
        while (true)
        {
            switch (decoder.TryRead(out var header, out var payload))
            {
                case DecodeStatus.NeedMore:
                    return;
                case DecodeStatus.Bad:
                    throw new LinkException("the guest sent a frame that is malformed or has a wrong checksum");
                default:
                    Dispatch(header, payload);
                    break;
            }
        }
    }

    private void Dispatch(in FrameHeader header, ReadOnlySpan<byte> payload)
    {
        switch (header.Type)
        {
            case FrameType.Control:
                if (header.Stream != LinkStreams.Control)
                    throw new LinkException($"the guest sent a control frame on stream {header.Stream}");
                if (_control.TryComplete(header, payload, out var message))
                    Receive(Parse(message));
                break;
            case FrameType.Data:
                ReceiveData(header, payload);
                break;
            case FrameType.Window:
                if (payload.Length != sizeof(ulong))
                    throw new LinkException($"the guest sent a window frame of {payload.Length} bytes");
                Writer(header.Stream)?.Extend(BinaryPrimitives.ReadUInt64LittleEndian(payload));
                break;
            case FrameType.Reset:
                Writer(header.Stream)?.Drop();
                break;
            case FrameType.Ping:
                Answer(header.Offset);
                break;
            default:
                // A pong: having heard it is all there is to it.
                break;
        }
    }

    private static GuestMessage Parse(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, LinkJson.Default.GuestMessage)
                ?? throw new LinkException("the guest sent null for a control message");
        }
        catch (Exception e) when (e is JsonException or NotSupportedException or InvalidOperationException)
        {
            throw new LinkException("the guest sent a control message that cannot be read", e);
        }
    }

    private void Receive(GuestMessage message)
    {
        switch (message)
        {
            case GuestHello hello:
                Greet(hello);
                return;
            case WorkloadFailed failed:
                message = failed with { Message = OneLine(failed.Message) };
                break;
            case ExecFailed failed:
                message = failed with { Message = OneLine(failed.Message) };
                EndExec(failed.Session);
                break;
            case ExecExited exited:
                EndExec(exited.Session);
                break;
        }
        if (!_guestHello.Task.IsCompleted)
            throw new LinkException("the guest did not begin with a hello");
        if (!_messages.Writer.TryWrite(message) && _ended is null)
            throw new LinkException($"the guest sent more than {MaxWaitingMessages} messages that nobody has read yet");
    }

    private void Greet(GuestHello hello)
    {
        if (Math.Min(hello.Version, _hello.Version) < Math.Max(hello.MinVersion, _hello.MinVersion))
        {
            throw new LinkException(
                $"the guest speaks link protocol {hello.MinVersion} to {hello.Version}, this host {_hello.MinVersion} to {_hello.Version}: " +
                "use a guest initramfs of this Ravel version");
        }
        if (!Enum.IsDefined(hello.Phase))
            throw new LinkException("the guest is in no known phase");
        hello = hello with { InitVersion = OneLine(hello.InitVersion), Kernel = OneLine(hello.Kernel) };
        if (!_guestHello.TrySetResult(hello))
            throw new LinkException("the guest said hello twice");
    }

    private void ReceiveData(in FrameHeader header, ReadOnlySpan<byte> payload)
    {
        HostReader? reader;
        lock (_gate)
            _readers.TryGetValue(header.Stream, out reader);
        if (reader is null)
            throw new LinkException($"the guest sent data on stream {header.Stream}, which is not open");
        if (!reader.Accept(header, payload) || IsWorkloadOutput(header.Stream))
            return;
        lock (_gate)
            Retire(header.Stream);
    }

    /// <summary>A guest that reports an exec session's end sends nothing more for it, even if it did not end the streams.</summary>
    private void EndExec(uint session)
    {
        // Stream ids of a greater one would wrap around to those of others.
        if (session is 0 or > LinkStreams.HighestSession)
            throw new LinkException($"the guest ended exec session {session}, which cannot be");
        lock (_gate)
        {
            foreach (var stream in (ReadOnlySpan<uint>)[LinkStreams.ExecStdout(session), LinkStreams.ExecStderr(session)])
            {
                if (_readers.TryGetValue(stream, out var reader))
                {
                    reader.End();
                    Retire(stream);
                }
            }
            if (_writers.Remove(LinkStreams.ExecStdin(session), out var writer))
                writer.Drop();
        }
    }

    /// <summary>A reader that nobody holds yet is kept for <see cref="OpenRead"/>.</summary>
    private void Retire(uint stream)
    {
        if (_readers.Remove(stream, out var reader) && !reader.IsTaken)
            _endedReaders[stream] = reader;
    }

    private HostWriter? Writer(uint stream)
    {
        lock (_gate)
            return _writers.GetValueOrDefault(stream);
    }

    /// <summary>Text of a guest ends up in terminals and logs.</summary>
    private static string OneLine(string? text)
    {
        const int Longest = 1024;
        if (string.IsNullOrEmpty(text))
            return "";
        var line = new StringBuilder(Math.Min(text.Length, Longest));
        foreach (var c in text.AsSpan(0, Math.Min(text.Length, Longest)))
            line.Append(char.IsControl(c) ? ' ' : c);
        return line.ToString();
    }
}
