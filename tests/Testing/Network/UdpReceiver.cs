using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Ravel.Testing.Network;

/// <summary>A UDP socket that datagrams are awaited on, in one of the namespaces.</summary>
public sealed class UdpReceiver : IDisposable
{
    private readonly Socket _socket;

    private UdpReceiver(Socket socket) => _socket = socket;

    /// <summary>Bytes that have arrived and not been read.</summary>
    public int Available => _socket.Available;

    public static Task<UdpReceiver> OpenAsync(NetworkNamespaceThread where, IPAddress address, int port) => where.RunAsync(() =>
    {
        var socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        socket.Bind(new IPEndPoint(address, port));
        return new UdpReceiver(socket);
    });

    public static Task SendAsync(NetworkNamespaceThread from, IPAddress to, int port, string text) => from.RunAsync(async () =>
    {
        using var socket = new Socket(to.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        await socket.SendToAsync(Encoding.ASCII.GetBytes(text), new IPEndPoint(to, port));
    });

    public async Task<string> ReceiveAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var buffer = new byte[2048];
        var length = await _socket.ReceiveAsync(buffer, patience.Token);
        return Encoding.ASCII.GetString(buffer, 0, length);
    }

    public void Dispose() => _socket.Dispose();
}
