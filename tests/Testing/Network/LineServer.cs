using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Ravel.Testing.Network;

/// <summary>
/// A TCP server that greets with the address it sees its client under, then returns every line. Lives in the network namespace of
/// the thread that makes it.
/// </summary>
public sealed class LineServer : IDisposable
{
    private readonly Socket _listener;

    public LineServer(IPEndPoint endPoint)
    {
        _listener = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        if (endPoint.Address.Equals(IPAddress.IPv6Any))
            _listener.DualMode = true; // both families, as servers do
        _listener.Bind(endPoint);
        _listener.Listen(64);
        _ = AcceptAsync();
    }

    public void Dispose() => _listener.Dispose();

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                _ = TalkAsync(await _listener.AcceptAsync());
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private static async Task TalkAsync(Socket client)
    {
        try
        {
            using var stream = new NetworkStream(client, ownsSocket: true);
            var seen = ((IPEndPoint)client.RemoteEndPoint!).Address;
            await stream.WriteAsync(Encoding.ASCII.GetBytes(seen + "\n"));
            using var reader = new StreamReader(stream);
            while (await reader.ReadLineAsync() is { } line)
                await stream.WriteAsync(Encoding.ASCII.GetBytes(line + "\n"));
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // The client went away.
        }
    }
}

/// <summary>A connection to a <see cref="LineServer"/>.</summary>
public sealed class LineClient : IDisposable
{
    /// <summary>What a test waits at most for an answer that has to come, on a machine that is busy.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly NetworkStream _stream;
    private readonly StreamReader _reader;

    private LineClient(NetworkStream stream, string seenAs)
    {
        _stream = stream;
        _reader = new StreamReader(stream);
        SeenAs = seenAs;
    }

    /// <summary>The address the server sees this client under.</summary>
    public string SeenAs { get; private set; }

    /// <exception cref="SocketException">No connection: refused or unreachable.</exception>
    public static Task<LineClient> ConnectAsync(NetworkNamespaceThread from, IPAddress address, int port) => from.RunAsync(async () =>
    {
        using var patience = new CancellationTokenSource(Patience);
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await socket.ConnectAsync(new IPEndPoint(address, port), patience.Token);
            var client = new LineClient(new NetworkStream(socket, ownsSocket: true), "");
            client.SeenAs = await client._reader.ReadLineAsync(patience.Token) ?? throw new IOException("the server closed the connection");
            return client;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    });

    public async Task<string?> AskAsync(string line)
    {
        using var patience = new CancellationTokenSource(Patience);
        await _stream.WriteAsync(Encoding.ASCII.GetBytes(line + "\n"), patience.Token);
        return await _reader.ReadLineAsync(patience.Token);
    }

    public void Dispose() => _stream.Dispose();
}
