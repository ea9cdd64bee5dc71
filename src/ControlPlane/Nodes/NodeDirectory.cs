using System.Threading.Channels;
using Microsoft.AspNetCore.Http;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Problems;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Nodes;

/// <summary>The nodes this server speaks with, and which of them is a machine's.</summary>
internal sealed class NodeDirectory : IDisposable
{
    /// <summary>A server that has just started may be asked before it has reached its nodes.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    private readonly Func<NodeEndPoint, NodeConnection> _connect;
    private readonly TimeProvider _time;
    private readonly Fleet _fleet;
    private readonly Dictionary<string, NodeConnection> _connections = new(StringComparer.Ordinal);
    private readonly Dictionary<string, NodeConnection> _reachedById = new(StringComparer.Ordinal);
    private readonly Channel<NodeConnection> _added = Channel.CreateUnbounded<NodeConnection>();
    private readonly Lock _lock = new();
    private TaskCompletionSource _reached = NewSignal();

    public NodeDirectory(ControlPlaneOptions options, Fleet fleet, TimeProvider time)
    {
        (_time, _fleet) = (time, fleet);
        _connect = endPoint => new NodeConnection(endPoint, options, time);
        if (options.NodeSocketPath is { } socket)
            Add(NodeEndPoint.Local(socket));
    }

    /// <summary>Told of a connection that was taken out: whoever watches it stops.</summary>
    public event Action<NodeConnection>? Removed;

    /// <summary>Connections to be watched, each once.</summary>
    public ChannelReader<NodeConnection> Added => _added.Reader;

    /// <summary>The node of this host; null for a server that has none beside it.</summary>
    public NodeConnection? Local
    {
        get
        {
            lock (_lock)
                return _connections.GetValueOrDefault(NodeEndPoint.LocalKey);
        }
    }

    /// <summary>How many it speaks with, reached or not.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return _connections.Count;
        }
    }

    /// <summary>Those that are reached, in the order of their ids.</summary>
    public IReadOnlyList<NodeConnection> Reached
    {
        get
        {
            lock (_lock)
                return [.. _reachedById.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => c.Value)];
        }
    }

    /// <summary>Speaks with a node from now on; nothing happens when its key is there with the same address.</summary>
    public void Add(NodeEndPoint endPoint)
    {
        NodeConnection? replaced;
        lock (_lock)
        {
            if (_connections.TryGetValue(endPoint.Key, out replaced) && replaced.EndPoint.Address == endPoint.Address)
                return;
            var connection = _connect(endPoint);
            _connections[endPoint.Key] = connection;
            _added.Writer.TryWrite(connection);
        }
        Drop(replaced);
    }

    /// <summary>Speaks with a node no more; calls under way end.</summary>
    public void Remove(string key)
    {
        NodeConnection? removed;
        lock (_lock)
            _connections.Remove(key, out removed);
        Drop(removed);
    }

    public NodeConnection? Find(string nodeId)
    {
        lock (_lock)
            return _reachedById.GetValueOrDefault(nodeId);
    }

    /// <summary>A machine's or a volume's node.</summary>
    /// <exception cref="ProblemException"><c>node-unavailable</c>: it is not reached.</exception>
    public NodeConnection Of(string nodeId) => Find(nodeId) ?? throw Unavailable($"Node {nodeId} is not reached by this server");

    /// <summary>The node that a request is about, by its parameter <c>node</c>; without one, the only node.</summary>
    /// <exception cref="ProblemException"><c>node-unavailable</c>; <c>node-required</c> when there are several to choose from.</exception>
    public async Task<NodeConnection> AskedForAsync(HttpContext http)
    {
        if (http.Request.Query["node"] is [{ Length: > 0 } id, ..])
            return Of(id);
        await AnyAsync(http.RequestAborted);
        return Reached switch
        {
            [var only] => only,
            [] => throw Unavailable("The node does not answer"),
            var several => throw new ProblemException(
                ProblemCodes.NodeRequired, $"There are {several.Count} nodes; say which with ?node=, such as {several[0].Info?.NodeId}."),
        };
    }

    /// <summary>Returns when a node is reached; waits a little for it.</summary>
    /// <exception cref="ProblemException"><c>node-unavailable</c>.</exception>
    public async Task AnyAsync(CancellationToken cancellationToken)
    {
        Task reached;
        lock (_lock)
            reached = _reachedById.Count > 0 ? Task.CompletedTask : _reached.Task;
        try
        {
            await reached.WaitAsync(Patience, _time, cancellationToken);
        }
        catch (TimeoutException)
        {
            throw Unavailable("No node answers");
        }
    }

    /// <summary>A node was reached and is this; null: it is not any more.</summary>
    /// <param name="connection">The way to it.</param>
    /// <param name="info">Its words.</param>
    /// <param name="askedAt">Timestamp from before it was asked for them.</param>
    public void Set(NodeConnection connection, Rpc.NodeInfo? info, long askedAt)
    {
        lock (_lock)
        {
            if (connection.Info is { } before && _reachedById.GetValueOrDefault(before.NodeId) == connection)
            {
                _reachedById.Remove(before.NodeId);
                if (before.NodeId != info?.NodeId)
                    _fleet.SetCondition(before.NodeId, NodeCondition.Unreachable);
            }
            connection.Info = info;
            if (info is null)
                return;
            _fleet.Heard(info, connection.Condition, askedAt);
            _reachedById[info.NodeId] = connection;
            _reached.TrySetResult();
            _reached = NewSignal();
        }
    }

    /// <summary>What the database says of a node now.</summary>
    public void SetCordon(string nodeId, bool isCordoned)
    {
        if (Find(nodeId) is { } node)
        {
            node.IsCordoned = isCordoned;
            _fleet.SetCondition(nodeId, node.Condition);
        }
    }

    public void Dispose()
    {
        foreach (var connection in _connections.Values)
            connection.Dispose();
    }

    private void Drop(NodeConnection? connection)
    {
        if (connection is null)
            return;
        Removed?.Invoke(connection);
        connection.Dispose();
    }

    private static ProblemException Unavailable(string what) => new(ProblemCodes.NodeUnavailable, $"{what}; see 'ravel doctor' and the log of raveld there.");

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
