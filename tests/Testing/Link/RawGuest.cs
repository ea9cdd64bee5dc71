using System.Text;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Vmm.Fake;
using Xunit;

namespace Ravel.Testing.Link;

internal sealed record RawFrame(FrameHeader Header, byte[] Payload);

/// <summary>A guest that sends whatever a test likes.</summary>
public sealed class RawGuest
{
    public const string Hello = """{"type":"hello","min_version":1,"version":1,"init_version":"raw","phase":"running","kernel":"k"}""";

    private readonly Stream _channel;
    private readonly FrameDecoder _decoder = new();

    private RawGuest(Stream channel)
    {
        _channel = channel;
    }

    public static async Task<(HostLink Link, RawGuest Guest)> ConnectAsync(HostLinkOptions options, CancellationToken cancellationToken)
    {
        var (connecting, guest) = await GreetAsync(options, cancellationToken);
        await guest.SendControlAsync(Hello);
        return (await connecting, guest);
    }

    /// <summary>Up to the echoed preamble: the guest's hello is still to come.</summary>
    public static async Task<(Task<HostLink> Connecting, RawGuest Guest)> GreetAsync(HostLinkOptions options, CancellationToken cancellationToken)
    {
        var (host, other) = DuplexPipe.Create();
        var connecting = HostLink.ConnectAsync(host, isLossy: false, new HostHello(1, 1, 0, 0), options, cancellationToken);
        var guest = new RawGuest(other);
        var nonce = new byte[LinkProtocol.NonceLength];
        while (!guest._decoder.TryReadPreamble(nonce))
            await guest.FillAsync(cancellationToken);
        await other.WriteAsync(LinkProtocol.Magic.ToArray(), cancellationToken);
        await other.WriteAsync(nonce, cancellationToken);
        Assert.Equal(FrameType.Control, (await guest.ReceiveAsync(cancellationToken)).Header.Type);
        return (connecting, guest);
    }

    public static byte[] Frame(FrameType type, FrameFlags flags, uint stream, ulong offset, ReadOnlySpan<byte> payload)
    {
        var frame = new byte[LinkProtocol.HeaderLength + payload.Length];
        payload.CopyTo(frame.AsSpan(LinkProtocol.HeaderLength));
        FrameHeader.Seal(frame, type, flags, stream, offset, payload.Length);
        return frame;
    }

    public Task SendAsync(FrameType type, FrameFlags flags, uint stream, ulong offset, byte[] payload) =>
        SendAsync(Frame(type, flags, stream, offset, payload));

    public Task SendControlAsync(string json) =>
        SendAsync(FrameType.Control, FrameFlags.End, 0, 0, Encoding.UTF8.GetBytes(json));

    /// <summary>A host that ended the session takes no more; what it took is up to it.</summary>
    public async Task SendAsync(byte[] bytes)
    {
        try
        {
            await _channel.WriteAsync(bytes);
        }
        catch (IOException)
        {
        }
    }

    /// <summary>Throws away what the host sends, until the link is closed from either side.</summary>
    public async Task DrainAsync()
    {
        var buffer = new byte[16 * 1024];
        try
        {
            while (await _channel.ReadAsync(buffer) > 0)
            {
            }
        }
        catch (Exception e) when (e is IOException or InvalidOperationException)
        {
            // Closed, perhaps while it was read from.
        }
    }

    public ValueTask CloseAsync() => _channel.DisposeAsync();

    internal async Task<RawFrame> ReceiveAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            switch (_decoder.TryRead(out var header, out var payload))
            {
                case DecodeStatus.Frame:
                    return new RawFrame(header, payload.ToArray());
                case DecodeStatus.Bad:
                    throw new InvalidOperationException("the host sent a bad frame");
                default:
                    await FillAsync(cancellationToken);
                    break;
            }
        }
    }

    private async Task FillAsync(CancellationToken cancellationToken)
    {
        var read = await _channel.ReadAsync(_decoder.Free, cancellationToken);
        if (read == 0)
            throw new IOException("the host closed the link");
        _decoder.Advance(read);
    }
}
