using System.Buffers;
using Ravel.Contracts.Link;

namespace Ravel.Link;

/// <summary>
/// Writes whole frames, one at a time. A caller may give up waiting for its turn, but a frame that was begun is
/// finished or the session is over: half a frame would garble everything behind it.
/// </summary>
#pragma warning disable CA1001 // The semaphore's wait handle is never made: nothing to dispose of, and late callers still wait on it.
internal sealed class FrameSender
#pragma warning restore CA1001
{
    private readonly Stream _channel;
    private readonly Func<Exception, LinkException> _fail;
    private readonly CancellationToken _session;
    private readonly SemaphoreSlim _turn = new(1, 1);

    /// <param name="channel">Where to.</param>
    /// <param name="fail">Ends the session over an error and returns the reason it ended for.</param>
    /// <param name="session">Cancelled at the session's end.</param>
    public FrameSender(Stream channel, Func<Exception, LinkException> fail, CancellationToken session)
    {
        _channel = channel;
        _fail = fail;
        _session = session;
    }

    /// <exception cref="LinkException">The session is over.</exception>
    public async Task SendAsync(
        FrameType type, FrameFlags flags, uint stream, ulong offset, ReadOnlyMemory<byte> payload, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        // Not kept: thousands of links are silent at any time.
        var frame = ArrayPool<byte>.Shared.Rent(LinkProtocol.HeaderLength + payload.Length);
        try
        {
            payload.Span.CopyTo(frame.AsSpan(LinkProtocol.HeaderLength));
            var length = FrameHeader.Seal(frame, type, flags, stream, offset, payload.Length);
            await _channel.WriteAsync(frame.AsMemory(0, length), _session);
            await _channel.FlushAsync(_session);
            // A write that failed may still hold it.
            ArrayPool<byte>.Shared.Return(frame);
        }
        catch (Exception e)
        {
            throw _fail(e);
        }
        finally
        {
            _turn.Release();
        }
    }
}
