namespace Ravel.Link;

/// <summary>A first-in first-out byte buffer that grows up to a limit and never past it.</summary>
internal sealed class ByteRing
{
    private const int FirstSize = 4096;

    private readonly int _limit;
    private byte[] _buffer = [];
    private int _head;

    public ByteRing(int limit)
    {
        _limit = limit;
    }

    public int Count { get; private set; }

    public int Room => _limit - Count;

    /// <summary>The oldest bytes that lie together; all of them unless they wrap.</summary>
    public ReadOnlySpan<byte> Front => _buffer.AsSpan(_head, Math.Min(Count, _buffer.Length - _head));

    public void Write(ReadOnlySpan<byte> data)
    {
        if (data.Length > Room)
            throw new InvalidOperationException("the ring is full");
        if (Count + data.Length > _buffer.Length)
            Grow(Count + data.Length);
        var tail = _head + Count;
        if (tail >= _buffer.Length)
            tail -= _buffer.Length;
        var first = Math.Min(data.Length, _buffer.Length - tail);
        data[..first].CopyTo(_buffer.AsSpan(tail));
        data[first..].CopyTo(_buffer);
        Count += data.Length;
    }

    /// <summary>Copies bytes that begin <paramref name="skip"/> after the oldest, without removing them.</summary>
    public int Peek(int skip, Span<byte> destination)
    {
        var length = Math.Min(destination.Length, Count - skip);
        if (length <= 0)
            return 0;
        var from = _head + skip;
        if (from >= _buffer.Length)
            from -= _buffer.Length;
        var first = Math.Min(length, _buffer.Length - from);
        _buffer.AsSpan(from, first).CopyTo(destination);
        _buffer.AsSpan(0, length - first).CopyTo(destination[first..]);
        return length;
    }

    public void Discard(int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)Count, nameof(count));
        Count -= count;
        _head += count;
        if (_head >= _buffer.Length)
            _head -= _buffer.Length;
        if (Count == 0)
            _head = 0;
    }

    public void Clear()
    {
        _buffer = [];
        _head = 0;
        Count = 0;
    }

    private void Grow(int needed)
    {
        var size = Math.Max(FirstSize, _buffer.Length);
        while (size < needed)
            size *= 2;
        var grown = new byte[Math.Min(size, _limit)];
        Peek(0, grown);
        _buffer = grown;
        _head = 0;
    }
}
