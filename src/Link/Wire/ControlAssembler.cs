namespace Ravel.Link;

/// <summary>Puts the parts of control messages together, up to a limit.</summary>
internal sealed class ControlAssembler
{
    private readonly int _limit;
    private byte[] _parts = [];
    private int _length;

    public ControlAssembler(int limit)
    {
        _limit = limit;
    }

    /// <summary>The whole message if this part ends it; valid until the next part.</summary>
    /// <exception cref="LinkException">The message is longer than allowed.</exception>
    public bool TryComplete(in FrameHeader header, ReadOnlySpan<byte> payload, out ReadOnlySpan<byte> message)
    {
        message = default;
        if (_length + payload.Length > _limit)
            throw new LinkException($"a control message is longer than {_limit} bytes");
        if (_length == 0 && header.IsEnd)
        {
            message = payload;
            return true;
        }
        if (_length + payload.Length > _parts.Length)
            Array.Resize(ref _parts, Math.Min(_limit, Math.Max(_length + payload.Length, _parts.Length * 2)));
        payload.CopyTo(_parts.AsSpan(_length));
        _length += payload.Length;
        if (!header.IsEnd)
            return false;
        message = _parts.AsSpan(0, _length);
        _length = 0;
        return true;
    }

    public void Clear()
    {
        _parts = [];
        _length = 0;
    }
}
