using Ravel.Contracts.Link;

namespace Ravel.Link;

public sealed partial class HostLink
{
    private readonly SemaphoreSlim _controlTurn = new(1, 1);
    private readonly Signal _answerDue = new();
    private readonly HashSet<HostReader> _announcing = [];
    private readonly HashSet<uint> _resetting = [];
    private ulong? _pong;
    private bool _isPingDue;
    private int _silentLooks;
    private ulong _pings;

    internal void Announce(HostReader reader)
    {
        lock (_gate)
            _announcing.Add(reader);
        _answerDue.Set();
    }

    internal void Reset(uint stream)
    {
        lock (_gate)
            _resetting.Add(stream);
        _answerDue.Set();
    }

    /// <summary>Several pings are answered once: a guest cannot make the host queue pongs.</summary>
    private void Answer(ulong ping)
    {
        lock (_gate)
            _pong = ping;
        _answerDue.Set();
    }

    private void OpenExec(StartExec exec)
    {
        ArgumentOutOfRangeException.ThrowIfZero(exec.Session, nameof(exec));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(exec.Session, LinkStreams.HighestSession, nameof(exec));
        lock (_gate)
        {
            foreach (var stream in (ReadOnlySpan<uint>)[LinkStreams.ExecStdout(exec.Session), LinkStreams.ExecStderr(exec.Session)])
            {
                if (!_readers.ContainsKey(stream))
                    _readers[stream] = Started(new HostReader(this, stream, 0));
            }
        }
    }

    private async Task OpenSessionAsync(byte[] preamble, bool isLossy, CancellationToken cancellationToken)
    {
        try
        {
            var opening = new byte[(isLossy ? LinkProtocol.FlushLength : 0) + preamble.Length];
            preamble.CopyTo(opening.AsSpan(opening.Length - preamble.Length));
            await _channel.WriteAsync(opening, cancellationToken);
            await _channel.FlushAsync(cancellationToken);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            throw Fail(e);
        }
        await SendAsync(_hello, cancellationToken);
    }

    /// <summary>The parts of one message stay together; data frames may come between them.</summary>
    private async Task SendControlAsync(ReadOnlyMemory<byte> json, CancellationToken cancellationToken)
    {
        await _controlTurn.WaitAsync(cancellationToken);
        try
        {
            var isFirst = true;
            while (true)
            {
                var length = Math.Min(json.Length, LinkProtocol.MaxPayload);
                var isLast = length == json.Length;
                // Once begun a message is sent to its end, or the session is.
                await _sender.SendAsync(
                    FrameType.Control, isLast ? FrameFlags.End : FrameFlags.None, LinkStreams.Control, 0, json[..length],
                    isFirst ? cancellationToken : CancellationToken.None);
                if (isLast)
                    return;
                json = json[length..];
                isFirst = false;
            }
        }
        finally
        {
            _controlTurn.Release();
        }
    }

    /// <summary>Sends what the guest is owed: windows, resets, pongs; and pings.</summary>
    private async Task AnswerAsync()
    {
        var payload = new byte[sizeof(ulong)];
        try
        {
            while (true)
            {
                await _answerDue.WaitAsync(_session.Token);
                while (Next(payload) is { } frame)
                    await _sender.SendAsync(frame.Type, FrameFlags.None, frame.Stream, frame.Offset, payload.AsMemory(0, frame.Length), _session.Token);
            }
        }
        catch (Exception e) when (e is LinkException or OperationCanceledException)
        {
            // The session is over, and whoever ended it said why.
        }
    }

    private FrameHeader? Next(Span<byte> payload)
    {
        lock (_gate)
        {
            if (_pong is { } pong)
            {
                _pong = null;
                return new FrameHeader(FrameType.Pong, FrameFlags.None, 0, pong, 0);
            }
            foreach (var stream in _resetting)
            {
                _resetting.Remove(stream);
                return new FrameHeader(FrameType.Reset, FrameFlags.None, stream, 0, 0);
            }
            foreach (var reader in _announcing)
            {
                _announcing.Remove(reader);
                return reader.TryAnnounce(payload, out var consumed)
                    ? new FrameHeader(FrameType.Window, FrameFlags.None, reader.Id, consumed, payload.Length)
                    : Next(payload);
            }
            if (!_isPingDue)
                return null;
            _isPingDue = false;
            return new FrameHeader(FrameType.Ping, FrameFlags.None, 0, ++_pings, 0);
        }
    }

    private void CheckPeer()
    {
        var silence = _options.Time.GetElapsedTime(Volatile.Read(ref _lastHeard));
        if (silence < _options.PingInterval)
        {
            _silentLooks = 0;
            return;
        }
        // Looks count, not the clock alone: a host that stood still itself finds all its guests silent, with their words still unread.
        if (++_silentLooks * _options.PingInterval >= _options.DeadAfter && silence >= _options.DeadAfter)
        {
            Fail(new LinkException($"the guest has been silent for {silence.TotalSeconds:0} s"));
            return;
        }
        lock (_gate)
            _isPingDue = true;
        _answerDue.Set();
    }
}
