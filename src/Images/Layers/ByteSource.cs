namespace Ravel.Images.Layers;

/// <summary>Bytes that arrive in chunks, read without copying where a chunk has enough of them.</summary>
internal abstract class ByteSource
{
    private ReadOnlyMemory<byte> _chunk;

    /// <summary>How many bytes were consumed.</summary>
    public long Position { get; private set; }

    /// <summary>Up to <paramref name="most"/> bytes, consumed; empty at the end. Valid until the next call.</summary>
    public ReadOnlySpan<byte> Read(long most)
    {
        if (_chunk.IsEmpty)
            _chunk = NextChunk();
        var step = (int)Math.Min(most, _chunk.Length);
        var bytes = _chunk.Span[..step];
        _chunk = _chunk[step..];
        Position += step;
        return bytes;
    }

    /// <summary>Exactly the length of <paramref name="target"/>, or less at the end.</summary>
    public int ReadFully(Span<byte> target)
    {
        var done = 0;
        while (done < target.Length)
        {
            var bytes = Read(target.Length - done);
            if (bytes.IsEmpty)
                break;
            bytes.CopyTo(target[done..]);
            done += bytes.Length;
        }
        return done;
    }

    /// <returns>False when the end came first.</returns>
    public bool Skip(long count)
    {
        if (count > _chunk.Length && TrySeek(count - _chunk.Length))
        {
            Position += count;
            _chunk = default;
            return true;
        }
        while (count > 0)
        {
            var bytes = Read(count);
            if (bytes.IsEmpty)
                return false;
            count -= bytes.Length;
        }
        return true;
    }

    /// <summary>Passes over bytes behind the current chunk without reading them, where that can be done.</summary>
    protected virtual bool TrySeek(long count) => false;

    /// <summary>The next bytes; empty at the end, and from then on. The previous chunk is given up.</summary>
    protected abstract ReadOnlyMemory<byte> NextChunk();
}

/// <summary>A stream read in chunks, for what needs no pipeline.</summary>
internal sealed class StreamByteSource(Stream stream, int chunkSize = 64 * 1024) : ByteSource
{
    private readonly byte[] _buffer = new byte[chunkSize];

    protected override ReadOnlyMemory<byte> NextChunk() => _buffer.AsMemory(0, stream.Read(_buffer));
}
