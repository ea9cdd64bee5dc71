using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Nodes;

/// <summary>
/// The way to the node. One channel over a Unix socket today; more nodes add more connections, found by the id in a machine's row.
/// </summary>
internal sealed class NodeConnection : IDisposable
{
    private readonly GrpcChannel _channel;
    private readonly TimeProvider _time;
    private readonly TimeSpan _callTimeout;
    private readonly Lock _lock = new();
    private TaskCompletionSource<Rpc.NodeInfo> _connected = NewSignal();

    public NodeConnection(ControlPlaneOptions options, TimeProvider time)
    {
        _time = time;
        _callTimeout = options.NodeCallTimeout;
        var endPoint = new UnixDomainSocketEndPoint(options.NodeSocketPath);
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(endPoint, cancellationToken);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
            // Exec sessions and followed logs are streams of their own: one connection's limit must not make them wait.
            EnableMultipleHttp2Connections = true,
        };
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = 16 << 20,
        });
        Client = new Rpc.Node.NodeClient(_channel);
    }

    public Rpc.Node.NodeClient Client { get; }

    /// <summary>What the node said of itself when it was last reached; null while it is not.</summary>
    public Rpc.NodeInfo? Connected
    {
        get
        {
            lock (_lock)
                return _connected.Task.IsCompletedSuccessfully ? _connected.Task.Result : null;
        }
    }

    /// <summary>Options of one call that answers at once.</summary>
    public CallOptions Call(CancellationToken cancellationToken) =>
        new(deadline: _time.GetUtcNow().UtcDateTime + _callTimeout, cancellationToken: cancellationToken);

    /// <summary>The client for a machine's node.</summary>
    /// <exception cref="ProblemException"><c>node-unavailable</c>: that node is not connected here.</exception>
    public Rpc.Node.NodeClient ClientOf(string nodeId)
    {
        if (Connected is { } node && node.NodeId != nodeId)
            throw new ProblemException(ProblemCodes.NodeUnavailable, $"The machine's node {nodeId} is not connected to this server; {node.NodeId} is.");
        return Client;
    }

    /// <summary>The node, waited for a little: it may be coming up beside this server.</summary>
    /// <exception cref="ProblemException"><c>node-unavailable</c>.</exception>
    public async Task<Rpc.NodeInfo> RequireAsync(TimeSpan patience, CancellationToken cancellationToken)
    {
        Task<Rpc.NodeInfo> connected;
        lock (_lock)
            connected = _connected.Task;
        try
        {
            return await connected.WaitAsync(patience, _time, cancellationToken);
        }
        catch (TimeoutException)
        {
            throw new ProblemException(ProblemCodes.NodeUnavailable, "The node does not answer; see 'ravel doctor' and the log of raveld.");
        }
    }

    public void SetConnected(Rpc.NodeInfo node)
    {
        lock (_lock)
        {
            if (_connected.Task.IsCompleted)
                _connected = NewSignal();
            _connected.SetResult(node);
        }
    }

    public void SetDisconnected()
    {
        lock (_lock)
        {
            if (_connected.Task.IsCompleted)
                _connected = NewSignal();
        }
    }

    public void Dispose() => _channel.Dispose();

    private static TaskCompletionSource<Rpc.NodeInfo> NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
