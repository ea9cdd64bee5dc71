using System.Net.Sockets;

namespace Ravel.Vmm.Processes;

/// <summary>A listening Unix socket for another process to inherit: it can be connected to before that process runs.</summary>
internal static class UnixListener
{
    /// <summary>Binds and listens. Disposing the result leaves the socket file there.</summary>
    /// <exception cref="VmmException">It could not be bound.</exception>
    public static Socket Create(string path)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            // .NET removes the file it bound when the socket is disposed; under another name it finds none.
            var temporary = path + ".new";
            File.Delete(temporary);
            socket.Bind(new UnixDomainSocketEndPoint(temporary));
            socket.Listen(8);
            File.Move(temporary, path, overwrite: true);
            return socket;
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            socket.Dispose();
            throw new VmmException($"socket {path} could not be made: {e.Message}", e);
        }
    }

    /// <exception cref="SocketException">Nobody listens.</exception>
    public static async Task<NetworkStream> ConnectAsync(string path, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
