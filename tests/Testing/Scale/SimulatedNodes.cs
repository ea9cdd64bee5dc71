using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Node;
using Ravel.ControlPlane.Nodes;

namespace Ravel.Testing.Scale;

/// <summary>
/// Any number of <see cref="SimulatedNode"/>s behind one loopback port: real gRPC, a connection for each node. Which one a call is for is
/// told by the host name it was made to.
/// </summary>
internal sealed class SimulatedNodes : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, SimulatedNode> _nodes = new(StringComparer.Ordinal);
    private WebApplication? _app;
    private int _port;

    public IEnumerable<SimulatedNode> All => _nodes.Values;

    public SimulatedNode this[string id] => _nodes[id];

    public int Port => _port;

    /// <summary>Reservations asked for so far, of all nodes.</summary>
    public long Asked => _asked;

    private long _asked;

    public async Task<SimulatedNodes> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(this);
        _app = builder.Build();
        _app.MapGrpcService<Service>();
        await _app.StartAsync();
        _port = new Uri(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()).Port;
        return this;
    }

    /// <summary>Adds a node; a server has to be told with its end point.</summary>
    public NodeEndPoint Add(SimulatedNode node)
    {
        _nodes[node.Id] = node;
        return EndPoint(node.Id, _port);
    }

    /// <summary>A node of another process, for the server in this one.</summary>
    public static NodeEndPoint EndPoint(string id, int port) => new(
        id,
        new Uri($"http://{id}:{port}"),
        () => new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                try
                {
                    await socket.ConnectAsync(IPAddress.Loopback, port, cancellationToken);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        });

    public async ValueTask DisposeAsync()
    {
        if (_app is null)
            return;
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
    }

    private sealed class Service(SimulatedNodes nodes) : Node.NodeBase
    {
        public override Task<NodeInfo> GetNode(GetNodeRequest request, ServerCallContext context) =>
            Task.FromResult(Of(context).Info(request.ImagesRevision));

        public override Task<Reservation> Reserve(ReserveRequest request, ServerCallContext context)
        {
            Interlocked.Increment(ref nodes._asked);
            return Task.FromResult(Of(context).Reserve(request));
        }

        public override Task<ReleaseResponse> Release(ReleaseRequest request, ServerCallContext context)
        {
            Of(context).Release(request.MachineId);
            return Task.FromResult(new ReleaseResponse());
        }

        public override Task<MachineStatus> PutMachine(PutMachineRequest request, ServerCallContext context) =>
            Task.FromResult(Of(context).Put(request));

        public override Task<ListMachinesResponse> ListMachines(ListMachinesRequest request, ServerCallContext context) =>
            Task.FromResult(Of(context).List());

        public override async Task WatchEvents(WatchEventsRequest request, IServerStreamWriter<NodeEvent> responseStream, ServerCallContext context)
        {
            try
            {
                await Of(context).WatchAsync(request.Acknowledged, responseStream, context.CancellationToken);
            }
            catch (OperationCanceledException)
            {
                // The caller is gone.
            }
        }

        private SimulatedNode Of(ServerCallContext context) =>
            nodes._nodes.GetValueOrDefault(context.Host[..context.Host.IndexOf(':', StringComparison.Ordinal)])
            ?? throw new RpcException(new Status(StatusCode.Unavailable, $"There is no node {context.Host}."));
    }
}
