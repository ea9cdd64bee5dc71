using System.Threading.Channels;

namespace Ravel.Images.Layers;

/// <summary>
/// Hands buffers from one stage of a layer to the next: at most <c>capacity</c> of them wait, so the faster stage pauses. The
/// writer may be asynchronous or a thread; the reader is a thread.
/// </summary>
internal sealed class ChunkQueue(int capacity)
{
    public const int ChunkSize = 256 * 1024;

    private readonly Channel<Chunk> _channel = Channel.CreateBounded<Chunk>(
        new BoundedChannelOptions(capacity) { SingleReader = true, SingleWriter = true });

    public ValueTask WriteAsync(Chunk chunk, CancellationToken cancellationToken) =>
        _channel.Writer.WriteAsync(chunk, cancellationToken);

    /// <summary>Waits on the calling thread, which is one that is allowed to.</summary>
    public void Write(Chunk chunk, CancellationToken cancellationToken)
    {
        if (_channel.Writer.TryWrite(chunk))
            return;
        _channel.Writer.WriteAsync(chunk, cancellationToken).AsTask().GetAwaiter().GetResult();
    }

    /// <summary>Gives back what nobody will read any more.</summary>
    public void Drain(LayerMemory memory)
    {
        while (_channel.Reader.TryRead(out var chunk))
            memory.Return(chunk.Buffer);
    }

    /// <summary>No more chunks will come; with an error, the reader gets that instead of the end.</summary>
    public void Complete(Exception? error = null) => _channel.Writer.TryComplete(error);

    /// <returns>False at the end.</returns>
    public bool TryRead(out Chunk chunk, CancellationToken cancellationToken)
    {
        while (!_channel.Reader.TryRead(out chunk))
        {
            if (!_channel.Reader.WaitToReadAsync(cancellationToken).AsTask().GetAwaiter().GetResult())
                return false;
        }
        return true;
    }
}

/// <summary>A rented buffer and how much of it is filled.</summary>
internal readonly record struct Chunk(byte[] Buffer, int Length);
