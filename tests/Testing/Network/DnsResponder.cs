using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Ravel.Testing.Network;

/// <summary>
/// A nameserver that knows one answer to every question: <see cref="TestHost.InternetV4"/>. UDP and TCP port 53 of one
/// address, in the network namespace of the thread that makes it.
/// </summary>
public sealed class DnsResponder : IDisposable
{
    private readonly Socket _udp;
    private readonly Socket _tcp;

    public DnsResponder(IPAddress address)
    {
        _udp = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        _udp.Bind(new IPEndPoint(address, 53));
        _tcp = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        _tcp.Bind(new IPEndPoint(address, 53));
        _tcp.Listen(8);
        _ = ServeUdpAsync();
        _ = ServeTcpAsync();
    }

    public void Dispose()
    {
        _udp.Dispose();
        _tcp.Dispose();
    }

    /// <summary>Asks for an address over UDP or TCP and returns it.</summary>
    public static Task<IPAddress> AskAsync(NetworkNamespaceThread from, IPAddress server, ProtocolType protocol) => from.RunAsync(async () =>
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        // Id 0x1234, recursion desired, one question: "a", type A, class IN (RFC 1035, section 4).
        byte[] query = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, (byte)'a', 0, 0, 1, 0, 1];
        var answer = new byte[512];
        int length;
        if (protocol == ProtocolType.Udp)
        {
            using var udp = new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            await udp.ConnectAsync(server, 53, patience.Token);
            await udp.SendAsync(query, patience.Token);
            length = await udp.ReceiveAsync(answer, patience.Token);
        }
        else
        {
            using var tcp = new Socket(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            await tcp.ConnectAsync(server, 53, patience.Token);
            await tcp.SendAsync((byte[])[0, (byte)query.Length, .. query], patience.Token);
            using var stream = new NetworkStream(tcp);
            await stream.ReadExactlyAsync(answer.AsMemory(0, 2), patience.Token);
            length = BinaryPrimitives.ReadUInt16BigEndian(answer);
            await stream.ReadExactlyAsync(answer.AsMemory(0, length), patience.Token);
        }
        return new IPAddress(answer.AsSpan(length - 4, 4));
    });

    private async Task ServeUdpAsync()
    {
        var buffer = new byte[512];
        try
        {
            while (true)
            {
                var query = await _udp.ReceiveFromAsync(buffer, new IPEndPoint(IPAddress.Any, 0));
                await _udp.SendToAsync(Answer(buffer.AsSpan(0, query.ReceivedBytes)), query.RemoteEndPoint);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private async Task ServeTcpAsync()
    {
        try
        {
            while (true)
            {
                using var client = await _tcp.AcceptAsync();
                var buffer = new byte[512];
                var length = await client.ReceiveAsync(buffer);
                var answer = Answer(buffer.AsSpan(2, length - 2));
                await client.SendAsync((byte[])[0, (byte)answer.Length, .. answer]);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private static byte[] Answer(ReadOnlySpan<byte> query)
    {
        byte[] answer =
        [
            .. query,
            0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, // the name asked for, A, IN, 60 s, 4 bytes
            .. TestHost.InternetV4.GetAddressBytes(),
        ];
        answer[2] |= 0x80; // a response
        answer[7] = 1; // with one answer
        return answer;
    }
}
