namespace Ravel.Images.Layers;

/// <summary>A queue as the stream an inflater reads. Gives every buffer back once it is read.</summary>
internal sealed class ChunkQueueStream(ChunkQueue queue, LayerMemory memory, CancellationToken cancellationToken) : ReadOnlyStream
{
    private Chunk _chunk;
    private int _offset;

    public override int Read(Span<byte> buffer)
    {
        var rest = Peek();
        var step = Math.Min(rest.Length, buffer.Length);
        rest[..step].CopyTo(buffer);
        _offset += step;
        return step;
    }

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
}
