using Grpc.Core;
using Grpc.Net.Client;
using Ravel.ControlPlane.Placement;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Nodes;

/// <summary>The way to one node.</summary>
internal sealed class NodeConnection : IDisposable
{
    private static readonly TimeSpan PingDelay = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan PingTimeout = TimeSpan.FromSeconds(5);

    private readonly GrpcChannel _channel;
    private readonly TimeProvider _time;
    private readonly TimeSpan _callTimeout;
    private volatile Rpc.NodeInfo? _info;
    private volatile bool _isCordoned;

    public NodeConnection(NodeEndPoint endPoint, ControlPlaneOptions options, TimeProvider time)
    {
        EndPoint = endPoint;
        _time = time;
        _callTimeout = options.NodeCallTimeout;
        var handler = endPoint.CreateHandler();
        // Exec sessions and followed logs are streams of their own: one connection's limit must not make them wait.
        handler.EnableMultipleHttp2Connections = true;
        // A node that vanished without a word ends its stream of events within nine seconds, however seldom it is asked how it is.
        handler.KeepAlivePingDelay = PingDelay;
        handler.KeepAlivePingTimeout = PingTimeout;
        _channel = GrpcChannel.ForAddress(endPoint.Address, new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = 16 << 20,
        });
        Client = new Rpc.Node.NodeClient(_channel);
    }

    public NodeEndPoint EndPoint { get; }

    public Rpc.Node.NodeClient Client { get; }

    /// <summary>What the node said of itself a few seconds ago at most; null while it is not reached.</summary>
    public Rpc.NodeInfo? Info
    {
        get => _info;
        internal set => _info = value;
    }

    /// <summary>Nothing new is placed there.</summary>
    public bool IsCordoned
    {
        get => _isCordoned;
        internal set => _isCordoned = value;
    }

    /// <summary>For the planner, while it is reached.</summary>
    public NodeCondition Condition => _isCordoned ? NodeCondition.Cordoned : NodeCondition.Ready;

    /// <summary>Options of one call that answers at once.</summary>
    public CallOptions Call(CancellationToken cancellationToken) =>
        new(deadline: _time.GetUtcNow().UtcDateTime + _callTimeout, cancellationToken: cancellationToken);

    public void Dispose() => _channel.Dispose();
}
