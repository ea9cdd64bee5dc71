using Ravel.Contracts.Link;

namespace Ravel.Link;

/// <summary>
/// The sending end of one of the guest's streams. Workload output is kept until the host says that it is durable, and sent
/// again to the next session; an exec session's only until it was sent.
/// <code>base ≤ sent ≤ base + buffered,  sent ≤ limit</code>
/// </summary>
public sealed class GuestOutput
{
    private readonly ByteRing _ring;
    private readonly bool _isRetained;
    private ulong _base;
    private ulong _sent;
    private ulong _limit = LinkProtocol.InitialWindow;
    private bool _isEnded;
    private bool _isEndSent;
    private bool _isDropped;

    internal GuestOutput(uint id, bool isRetained)
    {
        Id = id;
        _isRetained = isRetained;
        _ring = new ByteRing(isRetained ? LinkProtocol.InitialWindow : 2 * LinkProtocol.MaxPayload);
    }

    public uint Id { get; }

    /// <summary>Bytes <see cref="Write"/> takes now. Whoever has more waits, and with it the process that writes.</summary>
    public int Room => _isDropped ? int.MaxValue : _ring.Room;

    /// <summary>The host knows how the stream ended, or does not want to.</summary>
    public bool IsDone => _isEndSent || _isDropped;

    public void Write(ReadOnlySpan<byte> data)
    {
        if (_isEnded)
            throw new InvalidOperationException("the stream was ended");
        if (!_isDropped)
            _ring.Write(data);
    }

    public void End() => _isEnded = true;

    /// <summary>A session begins whose host has durably what lies below <paramref name="offset"/>.</summary>
    internal void Resume(ulong offset)
    {
        offset = Math.Clamp(offset, _base, _base + (ulong)_ring.Count);
        Forget(offset);
        _sent = offset;
        _limit = offset + LinkProtocol.InitialWindow;
        _isEndSent = false;
    }

    internal void Acknowledge(ulong consumed, ulong limit)
    {
        _limit = Math.Max(_limit, limit);
        if (_isRetained)
            Forget(Math.Min(consumed, _sent));
    }

    internal void Drop()
    {
        _isDropped = true;
        _ring.Clear();
    }

    /// <summary>Writes the next frame if one is due; returns its length.</summary>
    internal int NextFrame(Span<byte> frame)
    {
        if (_isDropped || _isEndSent)
            return 0;
        var unsent = (int)(_base + (ulong)_ring.Count - _sent);
        var length = (int)Math.Min((ulong)Math.Min(unsent, LinkProtocol.MaxPayload), _limit - _sent);
        var isEnd = _isEnded && length == unsent;
        if (length == 0 && !isEnd)
            return 0;
        _ring.Peek((int)(_sent - _base), frame.Slice(LinkProtocol.HeaderLength, length));
        var total = FrameHeader.Seal(frame, FrameType.Data, isEnd ? FrameFlags.End : FrameFlags.None, Id, _sent, length);
        _sent += (ulong)length;
        _isEndSent = isEnd;
        if (!_isRetained)
            Forget(_sent);
        return total;
    }

    private void Forget(ulong offset)
    {
        if (offset <= _base)
            return;
        _ring.Discard((int)(offset - _base));
        _base = offset;
    }
}
