namespace Ravel.Link;

internal sealed class HostReader : ILinkReader
{
    private readonly HostLink _link;
    private readonly IncomingStream _stream;
    private readonly Lock _gate = new();
    private readonly Signal _changed = new();
    private LinkException? _broken;
    private bool _isDiscarding;

    public HostReader(HostLink link, uint id, ulong offset)
    {
        _link = link;
        _stream = new IncomingStream(id, offset);
    }

    public uint Id => _stream.Id;

    /// <summary>Someone holds this reader.</summary>
    public bool IsTaken { get; set; }

    public ulong Offset
    {
        get
        {
            lock (_gate)
                return _stream.Read;
        }
    }

    public async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        while (true)
        {
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_isDiscarding, this);
                if (_stream.Available > 0)
                    return _stream.Take(buffer.Span);
                if (_stream.IsEnded)
                    return 0;
                if (_broken is not null)
                    throw new LinkException(_broken.Message, _broken);
            }
            await _changed.WaitAsync(cancellationToken);
        }
    }

    public void Consume(ulong offset)
    {
        bool announce;
        lock (_gate)
        {
            _stream.Consume(offset);
            announce = _stream.NeedsAnnouncement && _broken is null;
        }
        if (announce)
            _link.Announce(this);
    }

    /// <summary>
    /// Tells the guest to drop what it has left. Not for the workload's output: there it only stops reading, and the guest
    /// keeps the rest for the next session.
    /// </summary>
    public ValueTask DisposeAsync()
    {
        if (HostLink.IsWorkloadOutput(Id))
            return ValueTask.CompletedTask;
        bool reset;
        lock (_gate)
        {
            reset = !_isDiscarding && !_stream.IsEnded && _broken is null;
            _isDiscarding = true;
            if (_stream.Available > 0)
                _stream.Skip(_stream.Available);
        }
        _changed.Set();
        if (reset)
            _link.Reset(Id);
        return ValueTask.CompletedTask;
    }

    /// <returns>Whether the stream is over.</returns>
    internal bool Accept(in FrameHeader header, ReadOnlySpan<byte> payload)
    {
        lock (_gate)
        {
            if (_isDiscarding)
            {
                // Sent before the guest saw the reset.
                if (header.IsEnd)
                    _stream.End();
                return header.IsEnd;
            }
            _stream.Accept(header, payload);
        }
        _changed.Set();
        return header.IsEnd;
    }

    internal void End()
    {
        lock (_gate)
            _stream.End();
        _changed.Set();
    }

    internal void Break(LinkException reason)
    {
        lock (_gate)
            _broken = reason;
        _changed.Set();
    }

    internal bool TryAnnounce(Span<byte> limit, out ulong consumed)
    {
        lock (_gate)
        {
            consumed = 0;
            if (!_stream.NeedsAnnouncement)
                return false;
            consumed = _stream.Announce(limit);
            return true;
        }
    }
}
