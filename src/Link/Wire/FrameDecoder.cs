using Ravel.Contracts.Link;

namespace Ravel.Link;

internal enum DecodeStatus
{
    NeedMore,
    Frame,

    /// <summary>What follows is not a frame: another's bytes, or a peer that does not keep to the protocol.</summary>
    Bad,
}

/// <summary>Cuts a byte stream into preambles and frames. Holds one frame at most; does no I/O.</summary>
internal sealed class FrameDecoder
{
    public const int PreambleLength = 8 + LinkProtocol.NonceLength;

    /// <summary>Enough for what a quiet link carries: most are quiet, and their buffers are most of what a machine takes of the host's memory.</summary>
    private const int QuietLength = 2048;

    private const int BusyLength = 2 * LinkProtocol.FlushLength;

    private byte[] _buffer = new byte[QuietLength];
    private int _start;
    private int _end;
    private int _lastCount;

    /// <summary>True when no part of a frame is waiting for its rest.</summary>
    public bool IsEmpty => _start == _end;

    /// <summary>Where the next bytes go; never empty after a <see cref="TryRead"/> that needed more.</summary>
    public Memory<byte> Free => FreeFor(1);

    /// <param name="count">Bytes that are to find room; a frame's at most.</param>
    /// <inheritdoc cref="Free"/>
    public Memory<byte> FreeFor(int count)
    {
        var waiting = _buffer.AsSpan(_start, _end - _start);
        var target = _buffer;
        var length = IsEmpty && _lastCount < QuietLength && count <= QuietLength ? QuietLength : BusyLength;
        if (target.Length != length)
            target = new byte[length];
        if (_start > 0 || target != _buffer)
            waiting.CopyTo(target);
        (_buffer, _end, _start) = (target, waiting.Length, 0);
        return _buffer.AsMemory(_end);
    }

    public void Advance(int count)
    {
        _end += count;
        _lastCount = count;
    }

    public void Clear() => _start = _end = 0;

    /// <summary>The next frame. Its payload is valid until <see cref="Free"/> is used again.</summary>
    public DecodeStatus TryRead(out FrameHeader header, out ReadOnlySpan<byte> payload)
    {
        header = default;
        payload = default;
        var available = _buffer.AsSpan(_start, _end - _start);
        if (available.Length < LinkProtocol.HeaderLength)
            return DecodeStatus.NeedMore;
        if (FrameHeader.Parse(available) is not { } parsed)
            return DecodeStatus.Bad;
        var length = LinkProtocol.HeaderLength + parsed.Length;
        if (available.Length < length)
            return DecodeStatus.NeedMore;
        var frame = available[..length];
        if (!FrameHeader.Verify(frame))
            return DecodeStatus.Bad;
        header = parsed;
        payload = frame[LinkProtocol.HeaderLength..];
        _start += length;
        return DecodeStatus.Frame;
    }

    /// <summary>
    /// Discards bytes up to and including a preamble, and copies its nonce. False when more bytes are needed. A frame that
    /// turned out bad is searched too, so that a preamble inside it is not lost.
    /// </summary>
    public bool TryReadPreamble(Span<byte> nonce)
    {
        var available = _buffer.AsSpan(_start, _end - _start);
        var at = available.IndexOf(LinkProtocol.Magic);
        if (at < 0)
        {
            _start = Math.Max(_start, _end - (LinkProtocol.Magic.Length - 1));
            return false;
        }
        _start += at;
        if (_end - _start < PreambleLength)
            return false;
        _buffer.AsSpan(_start + LinkProtocol.Magic.Length, LinkProtocol.NonceLength).CopyTo(nonce);
        _start += PreambleLength;
        return true;
    }

    /// <summary>Discards bytes up to and including this preamble. False when more bytes are needed.</summary>
    public bool TrySkipTo(ReadOnlySpan<byte> preamble)
    {
        var at = _buffer.AsSpan(_start, _end - _start).IndexOf(preamble);
        if (at < 0)
        {
            _start = Math.Max(_start, _end - (preamble.Length - 1));
            return false;
        }
        _start += at + preamble.Length;
        return true;
    }
}
