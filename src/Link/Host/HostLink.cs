using System.Threading.Channels;
using Ravel.Contracts.Link;

namespace Ravel.Link;

/// <summary>
/// The host's end of a guest link. Everything read from the guest is hostile: any violation of the protocol ends the
/// session with a <see cref="LinkException"/> as the fault of <see cref="Completion"/>; memory is bounded by the windows.
/// </summary>
public sealed class HostLink : IAsyncDisposable
{
    private HostLink()
    {
    }

    /// <summary>
    /// Starts a session: preamble, hello each way, version check. Returns when the guest has answered; waits for a guest that
    /// is still booting until cancelled. Takes ownership of <paramref name="channel"/>.
    /// </summary>
    public static Task<HostLink> ConnectAsync(Stream channel, bool isLossy, HostHello hello, CancellationToken cancellationToken) =>
        throw new NotImplementedException();

    public GuestHello GuestHello => throw new NotImplementedException();

    /// <summary>Control messages in order; completes when the session ends.</summary>
    public ChannelReader<GuestMessage> Messages => throw new NotImplementedException();

    /// <summary>Ends with the session: normally when the guest closed it, faulted with <see cref="LinkException"/> otherwise.</summary>
    public Task Completion => throw new NotImplementedException();

    public ValueTask SendAsync(HostMessage message, CancellationToken cancellationToken) => throw new NotImplementedException();

    /// <summary>A stream from the guest, beginning at <paramref name="offset"/> (workload output: where the hello said).</summary>
    public ILinkReader OpenRead(uint stream, ulong offset = 0) => throw new NotImplementedException();

    /// <summary>A stream to the guest.</summary>
    public ILinkWriter OpenWrite(uint stream) => throw new NotImplementedException();

    public ValueTask DisposeAsync() => throw new NotImplementedException();
}

/// <summary>Incoming bytes of one stream. The peer may send no more than a window beyond what was consumed.</summary>
public interface ILinkReader : IAsyncDisposable
{
    /// <summary>Offset of the next byte <see cref="ReadAsync"/> returns.</summary>
    ulong Offset { get; }

    /// <summary>At least one byte, or 0 at the stream's end. Throws <see cref="LinkException"/> when the session ended first.</summary>
    ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken);

    /// <summary>Bytes below <paramref name="offset"/> are done with: the peer may forget them and send more.</summary>
    void Consume(ulong offset);
}

/// <summary>Outgoing bytes of one stream; writing waits for the peer's window.</summary>
public interface ILinkWriter
{
    ValueTask WriteAsync(ReadOnlyMemory<byte> data, CancellationToken cancellationToken);

    /// <summary>Nothing follows on this stream.</summary>
    ValueTask CompleteAsync(CancellationToken cancellationToken);
}

/// <summary>The session broke: the peer violated the protocol, spoke another version, or went away.</summary>
public sealed class LinkException : Exception
{
    public LinkException(string message)
        : base(message)
    {
    }

    public LinkException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
