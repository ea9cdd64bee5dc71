namespace Ravel.Images.Layers;

/// <summary>A queue as the stream an inflater reads. Gives every buffer back once it is read.</summary>
internal sealed class ChunkQueueStream(ChunkQueue queue, LayerMemory memory, CancellationToken cancellationToken) : Stream
{
    private Chunk _chunk;
    private int _offset;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(Span<byte> buffer)
    {
        var rest = Peek();
        var step = Math.Min(rest.Length, buffer.Length);
        rest[..step].CopyTo(buffer);
        _offset += step;
        return step;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    /// <summary>What is at hand, at least one byte unless at the end.</summary>
    public ReadOnlySpan<byte> Peek()
    {
        while (_offset == _chunk.Length)
        {
            GiveBack();
            if (!queue.TryRead(out _chunk, cancellationToken))
            {
                _chunk = default;
                return default;
            }
        }
        return _chunk.Buffer.AsSpan(_offset, _chunk.Length - _offset);
    }

    /// <summary>Gives the chunk at hand back; the queue is its owner's.</summary>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
            GiveBack();
        base.Dispose(disposing);
    }

    private void GiveBack()
    {
        if (_chunk.Buffer is not null)
            memory.Return(_chunk.Buffer);
        _chunk = default;
        _offset = 0;
    }

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
