using System.Buffers.Binary;
using System.Text.Json;
using Ravel.Contracts.Link;

namespace Ravel.Link;

/// <summary>
/// The guest's end of the link: bytes in, events and bytes out, no I/O, no threads, no clock, so that PID 1 can drive it
/// from one poll loop. It outlives sessions: a host may vanish and another take over at any byte.
/// <code>
///            preamble                 hello
/// Hunting ────────────▶ Greeting ───────────▶ Open
///    ▲  anything that is no frame │              │
///    └────────────────────────────┴──────────────┘
/// </code>
/// </summary>
public sealed class GuestLink
{
    private enum State
    {
        Hunting,
        Greeting,
        Open,
    }

    // A round of output holds at least one frame of each kind, and two of data.
    private readonly byte[] _out = new byte[3 * LinkProtocol.FlushLength];
    private readonly IGuestLinkEvents _events;
    private readonly FrameDecoder _decoder = new();
    private readonly ControlAssembler _control = new(LinkProtocol.MaxControlMessage);
    private readonly List<GuestOutput> _outputs = [];
    private readonly List<GuestInput> _inputs = [];
    private readonly Queue<GuestMessage> _messages = new();
    private readonly List<(uint Session, GuestMessage Message)> _exits = [];
    private State _state;
    private int _outStart;
    private int _outEnd;
    private int _turn;
    private ulong? _pong;

    public GuestLink(IGuestLinkEvents events)
    {
        _events = events;
        Stdout = new GuestOutput(LinkStreams.Stdout, isRetained: true);
        Stderr = new GuestOutput(LinkStreams.Stderr, isRetained: true);
        _outputs.Add(Stdout);
        _outputs.Add(Stderr);
    }

    /// <summary>Standard output of the workload.</summary>
    public GuestOutput Stdout { get; }

    /// <summary>Standard error of the workload.</summary>
    public GuestOutput Stderr { get; }

    /// <summary>A host is listening.</summary>
    public bool IsOpen => _state == State.Open;

    /// <summary>Queues a message of the current session; dropped when there is none (the next host learns the phase from the hello).</summary>
    public void Send(GuestMessage message)
    {
        if (IsOpen)
            _messages.Enqueue(message);
    }

    /// <summary>Opens the streams of an exec session.</summary>
    public (GuestOutput Stdout, GuestOutput Stderr, GuestInput Stdin) OpenExec(uint session)
    {
        var streams = (
            new GuestOutput(LinkStreams.ExecStdout(session), isRetained: false),
            new GuestOutput(LinkStreams.ExecStderr(session), isRetained: false),
            OpenInput(LinkStreams.ExecStdin(session)));
        _outputs.Add(streams.Item1);
        _outputs.Add(streams.Item2);
        return streams;
    }

    /// <summary>Queues the message that ends an exec session, behind all its output.</summary>
    public void EndExec(uint session, GuestMessage message)
    {
        Find(_inputs, LinkStreams.ExecStdin(session))?.Close();
        if (IsOpen)
            _exits.Add((session, message));
    }

    /// <summary>A stream from the host; what the host sends on it before it is opened is lost.</summary>
    public GuestInput OpenInput(uint stream)
    {
        _inputs.RemoveAll(i => i.Id == stream);
        var input = new GuestInput(stream);
        _inputs.Add(input);
        return input;
    }

    /// <summary>Takes bytes from the channel, at most <see cref="MaxReceive"/> at once.</summary>
    /// <returns>False when they broke the protocol; over vsock the connection is then of no more use.</returns>
    public bool Receive(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(_decoder.FreeFor(bytes.Length).Span);
        _decoder.Advance(bytes.Length);
        var isSound = true;
        Span<byte> nonce = stackalloc byte[LinkProtocol.NonceLength];
        while (true)
        {
            if (_state == State.Hunting)
            {
                if (!_decoder.TryReadPreamble(nonce))
                    return isSound;
                Greet(nonce);
            }
            switch (_decoder.TryRead(out var header, out var payload))
            {
                case DecodeStatus.NeedMore:
                    return isSound;
                case DecodeStatus.Frame when TryDispatch(header, payload):
                    break;
                default:
                    isSound = false;
                    Leave();
                    break;
            }
        }
    }

    /// <summary>Bytes one call of <see cref="Receive"/> takes.</summary>
    public const int MaxReceive = LinkProtocol.FlushLength;

    /// <summary>The channel is gone: whatever was under way belongs to no session any more.</summary>
    public void Disconnected()
    {
        _decoder.Clear();
        Leave();
    }

    /// <summary>Bytes for the channel; empty when there is nothing to say. Stays the same until <see cref="Written"/>.</summary>
    public ReadOnlyMemory<byte> Output
    {
        get
        {
            if (_outStart == _outEnd)
                Fill();
            return _out.AsMemory(_outStart, _outEnd - _outStart);
        }
    }

    public void Written(int count) => _outStart += count;

    private void Greet(ReadOnlySpan<byte> nonce)
    {
        _state = State.Greeting;
        // What an earlier host did not read is not for this one; it skips to its nonce.
        _outStart = 0;
        LinkProtocol.Magic.CopyTo(_out);
        nonce.CopyTo(_out.AsSpan(LinkProtocol.Magic.Length));
        _outEnd = FrameDecoder.PreambleLength;
    }

    private void Leave()
    {
        var wasOpen = IsOpen;
        _state = State.Hunting;
        _outStart = _outEnd = 0;
        _pong = null;
        _control.Clear();
        _messages.Clear();
        _exits.Clear();
        for (var i = 2; i < _outputs.Count; i++)
            _outputs[i].Drop();
        _outputs.RemoveRange(2, _outputs.Count - 2);
        _inputs.Clear();
        if (wasOpen)
            _events.SessionEnded();
    }

    private bool TryDispatch(in FrameHeader header, ReadOnlySpan<byte> payload)
    {
        try
        {
            switch (header.Type)
            {
                case FrameType.Control:
                    if (_control.TryComplete(header, payload, out var json))
                        Handle(JsonSerializer.Deserialize(json, LinkJson.Default.HostMessage));
                    return true;
                case FrameType.Data:
                    ReceiveData(header, payload);
                    return true;
                case FrameType.Window when payload.Length == sizeof(ulong):
                    Find(_outputs, header.Stream)?.Acknowledge(header.Offset, BinaryPrimitives.ReadUInt64LittleEndian(payload));
                    return true;
                case FrameType.Reset:
                    Find(_outputs, header.Stream)?.Drop();
                    return true;
                case FrameType.Ping:
                    _pong = header.Offset;
                    return true;
                default:
                    return header.Type == FrameType.Pong;
            }
        }
        catch (Exception e) when (e is LinkException or JsonException or NotSupportedException)
        {
            return false;
        }
    }

    private void Handle(HostMessage? message)
    {
        if (message is HostHello hello)
        {
            if (IsOpen)
                throw new LinkException("the host said hello twice");
            _state = State.Open;
            Stdout.Resume(hello.StdoutOffset);
            Stderr.Resume(hello.StderrOffset);
            // Sent even if no version suits both: the host says so to whoever can mend it.
            var at = _messages.Count;
            var own = _events.SessionStarted(hello);
            InsertFirst(own, at);
            return;
        }
        if (message is null || !IsOpen)
            throw new LinkException("the host did not begin with a hello");
        _events.MessageReceived(message);
    }

    private void InsertFirst(GuestMessage hello, int queuedBefore)
    {
        var follow = _messages.ToArray();
        _messages.Clear();
        _messages.Enqueue(hello);
        foreach (var message in follow.AsSpan(queuedBefore))
            _messages.Enqueue(message);
    }

    private void ReceiveData(in FrameHeader header, ReadOnlySpan<byte> payload)
    {
        // No such stream: the process it was for is gone, and the host hears of that.
        if (Find(_inputs, header.Stream) is not { } input)
            return;
        if (!input.IsClosed)
            input.Stream.Accept(header, payload);
    }

    private void Fill()
    {
        _outStart = _outEnd = 0;
        if (_state != State.Open)
            return;
        if (_pong is { } pong)
        {
            Add(FrameType.Pong, 0, pong, 0);
            _pong = null;
        }
        while (_messages.Count > 0 && HasSpace)
            AddMessage(_messages.Dequeue());
        foreach (var input in _inputs)
        {
            if (HasSpace && input.IsResetDue)
            {
                input.IsResetDue = false;
                Add(FrameType.Reset, input.Id, 0, 0);
            }
            else if (HasSpace && input.Stream.NeedsAnnouncement)
            {
                var consumed = input.Stream.Announce(_out.AsSpan(_outEnd + LinkProtocol.HeaderLength));
                Add(FrameType.Window, input.Id, consumed, sizeof(ulong));
            }
        }
        FillData();
        FillExits();
    }

    /// <summary>One frame of each stream in turn, beginning where the last round stopped.</summary>
    private void FillData()
    {
        for (var idle = 0; idle < _outputs.Count && HasSpace;)
        {
            _turn = (_turn + 1) % _outputs.Count;
            var length = _outputs[_turn].NextFrame(_out.AsSpan(_outEnd));
            _outEnd += length;
            idle = length == 0 ? idle + 1 : 0;
        }
    }

    private void FillExits()
    {
        for (var i = 0; i < _exits.Count && HasSpace;)
        {
            var (session, message) = _exits[i];
            var stdout = Find(_outputs, LinkStreams.ExecStdout(session));
            var stderr = Find(_outputs, LinkStreams.ExecStderr(session));
            if (stdout is { IsDone: false } || stderr is { IsDone: false })
            {
                i++;
                continue;
            }
            AddMessage(message);
            _exits.RemoveAt(i);
            _outputs.RemoveAll(o => o == stdout || o == stderr);
            _inputs.RemoveAll(n => n.Id == LinkStreams.ExecStdin(session));
        }
    }

    private bool HasSpace => _out.Length - _outEnd >= LinkProtocol.FlushLength;

    /// <summary>A guest's messages fit one frame: they hold a line of text at most.</summary>
    private void AddMessage(GuestMessage message)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(message, LinkJson.Default.GuestMessage);
        json.CopyTo(_out.AsSpan(_outEnd + LinkProtocol.HeaderLength, LinkProtocol.MaxPayload));
        _outEnd += FrameHeader.Seal(_out.AsSpan(_outEnd), FrameType.Control, FrameFlags.End, LinkStreams.Control, 0, json.Length);
    }

    private void Add(FrameType type, uint stream, ulong offset, int payloadLength) =>
        _outEnd += FrameHeader.Seal(_out.AsSpan(_outEnd), type, FrameFlags.None, stream, offset, payloadLength);

    private static GuestOutput? Find(List<GuestOutput> outputs, uint stream)
    {
        foreach (var output in outputs)
        {
            if (output.Id == stream)
                return output;
        }
        return null;
    }

    private static GuestInput? Find(List<GuestInput> inputs, uint stream)
    {
        foreach (var input in inputs)
        {
            if (input.Id == stream)
                return input;
        }
        return null;
    }
}
