using System.Buffers.Binary;
using Ravel.Contracts.Link;

namespace Ravel.Link;

/// <summary>
/// The receiving end of one stream: what arrived and was not read yet, bounded by the window.
/// <code>consumed ≤ read ≤ received ≤ limit = consumed as last announced + window</code>
/// </summary>
internal sealed class IncomingStream
{
    /// <summary>Consumed bytes after which the peer is told: a quarter of the window keeps it sending without a frame per read.</summary>
    private const int AnnounceEvery = LinkProtocol.InitialWindow / 4;

    private readonly ByteRing _ring = new(LinkProtocol.InitialWindow);
    private ulong _received;
    private ulong _announced;

    public IncomingStream(uint id, ulong offset)
    {
        Id = id;
        Read = Consumed = _received = _announced = offset;
    }

    public uint Id { get; }

    /// <summary>Offset of the next byte to be read.</summary>
    public ulong Read { get; private set; }

    public ulong Consumed { get; private set; }

    /// <summary>The peer sends nothing more; bytes may still be waiting.</summary>
    public bool IsEnded { get; private set; }

    public int Available => _ring.Count;

    public ReadOnlySpan<byte> Front => _ring.Front;

    public bool NeedsAnnouncement => !IsEnded && Consumed - _announced >= AnnounceEvery;

    /// <exception cref="LinkException">The bytes leave a gap, overlap, exceed the window or follow the end.</exception>
    public void Accept(in FrameHeader header, ReadOnlySpan<byte> payload)
    {
        if (IsEnded)
            throw new LinkException($"stream {Id} goes on after its end");
        if (header.Offset != _received)
            throw new LinkException($"stream {Id} is at {_received}, but the peer sent offset {header.Offset}");
        if (_received + (ulong)payload.Length - _announced > LinkProtocol.InitialWindow)
            throw new LinkException($"stream {Id} exceeds its window");
        _ring.Write(payload);
        _received += (ulong)payload.Length;
        IsEnded = header.IsEnd;
    }

    /// <summary>No more will come, whether or not the peer said so.</summary>
    public void End() => IsEnded = true;

    public int Take(Span<byte> destination)
    {
        var count = _ring.Peek(0, destination);
        Skip(count);
        return count;
    }

    public void Skip(int count)
    {
        _ring.Discard(count);
        Read += (ulong)count;
    }

    public void Consume(ulong offset)
    {
        if (offset > Read)
            throw new ArgumentOutOfRangeException(nameof(offset), offset, $"only {Read} bytes were read");
        Consumed = Math.Max(Consumed, offset);
    }

    /// <summary>Payload of the window frame that announces what was consumed.</summary>
    public ulong Announce(Span<byte> limit)
    {
        _announced = Consumed;
        BinaryPrimitives.WriteUInt64LittleEndian(limit, Consumed + LinkProtocol.InitialWindow);
        return Consumed;
    }
}
