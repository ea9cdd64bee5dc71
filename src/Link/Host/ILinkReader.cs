namespace Ravel.Link;

/// <summary>Incoming bytes of one stream. The peer may send no more than a window beyond what was consumed.</summary>
public interface ILinkReader : IAsyncDisposable
{
    /// <summary>Offset of the next byte <see cref="ReadAsync"/> returns.</summary>
    ulong Offset { get; }

    /// <summary>
    /// At least one byte, or 0 at the stream's end. Throws <see cref="LinkException"/> when the session ended first. One
    /// call at a time. With an empty buffer it takes nothing and returns 0 once there is something to take, or the stream's end.
    /// </summary>
    ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken);

    /// <summary>Bytes below <paramref name="offset"/> are done with: the peer may forget them and send more.</summary>
    void Consume(ulong offset);
}

/// <summary>Outgoing bytes of one stream; writing waits for the peer's window. One call at a time.</summary>
public interface ILinkWriter
{
    /// <summary>Bytes for a peer that wants no more of the stream are dropped.</summary>
    ValueTask WriteAsync(ReadOnlyMemory<byte> data, CancellationToken cancellationToken);

    /// <summary>Nothing follows on this stream.</summary>
    ValueTask CompleteAsync(CancellationToken cancellationToken);
}
