using System.Net.Sockets;

namespace Ravel.ControlPlane.Nodes;

/// <summary>Where a node serves <c>ravel.node.v1.Node</c>.</summary>
/// <param name="Key">One connection is kept for each key: a node's id, or a name for one that is not known yet.</param>
/// <param name="Address">Of the channel.</param>
/// <param name="CreateHandler">Makes the handler that connects, with the certificates this takes. Called once for a connection.</param>
internal sealed record NodeEndPoint(string Key, Uri Address, Func<SocketsHttpHandler> CreateHandler)
{
    public const string LocalKey = "local";

    /// <summary>Who is there, of nodes that joined; null when that is to be found out.</summary>
    public string? NodeId { get; init; }

    /// <summary>The node of this host.</summary>
    public static NodeEndPoint Local(string socketPath) => new(
        LocalKey,
        new Uri("http://localhost"),
        () => new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellationToken);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        });
}
