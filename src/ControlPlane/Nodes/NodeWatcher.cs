using System.Threading.Channels;
using Grpc.Core;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane.Events;
using Ravel.ControlPlane.Machines;
using Ravel.Durable;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Nodes;

/// <summary>
/// Keeps the node connected: finds out who it is, has everything pushed that it has not confirmed, and stores its events until the
/// stream breaks; then again, for ever.
/// </summary>
internal sealed class NodeWatcher(
    NodeConnection node,
    NodeStore nodes,
    EventIntake intake,
    MachineReconciler reconciler,
    TimeProvider time,
    ILogger<NodeWatcher> log) : BackgroundService
{
    private const int Batch = 64;

    /// <summary>The node forgets what a new stream acknowledges: after so many events one is opened.</summary>
    private const int EventsPerStream = 2_000;

    private static readonly BackoffPolicy Retry = new(TimeSpan.FromMilliseconds(50), 2, TimeSpan.FromSeconds(5));

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var failures = 0;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                var info = await node.Client.GetNodeAsync(new Rpc.GetNodeRequest(), node.Call(stoppingToken));
                var acknowledged = await nodes.SeenAsync(info, stoppingToken);
                node.SetConnected(info);
                if (failures > 0)
                    log.LogInformation("Node {Node} is reached", info.NodeId);
                failures = 0;
                reconciler.SignalAll();
                await WatchAsync(info.NodeId, (ulong)acknowledged, stoppingToken);
            }
            catch (Exception) when (stoppingToken.IsCancellationRequested)
            {
                break;
            }
            catch (Exception e)
            {
                node.SetDisconnected();
                failures++;
                if (failures == 1 || e is not RpcException)
                    log.LogWarning(e, "The node is not reached; it is tried again until it is");
                await Task.Delay(Retry.DelayAfter(failures), time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        node.SetDisconnected();
    }

    private async Task WatchAsync(string nodeId, ulong acknowledged, CancellationToken cancellationToken)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var stream = node.Client.WatchEvents(new Rpc.WatchEventsRequest { Acknowledged = acknowledged }, cancellationToken: ending.Token);
        // Events that arrive while a batch is being stored make the next batch: one commit for many when there are many.
        var queue = Channel.CreateBounded<Rpc.NodeEvent>(Batch * 4);
        var reading = ReadAsync(stream.ResponseStream, queue.Writer, ending.Token);
        try
        {
            var stored = 0;
            var newest = acknowledged;
            var batch = new List<Rpc.NodeEvent>(Batch);
            while (stored < EventsPerStream && await queue.Reader.WaitToReadAsync(cancellationToken))
            {
                batch.Clear();
                while (batch.Count < Batch && queue.Reader.TryRead(out var report))
                {
                    // What a node delivers again costs nothing, and does not count towards a new stream: that would never end.
                    if (report.Sequence <= newest)
                        continue;
                    newest = report.Sequence;
                    batch.Add(report);
                }
                await intake.StoreAsync(nodeId, batch, cancellationToken);
                stored += batch.Count;
            }
            if (stored < EventsPerStream)
                await reading;
        }
        finally
        {
            await ending.CancelAsync();
            await reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        if (reading.IsCompletedSuccessfully)
            throw new RpcException(new Status(StatusCode.Unavailable, "The node ended its stream of events."));
    }

    private static async Task ReadAsync(
        IAsyncStreamReader<Rpc.NodeEvent> stream, ChannelWriter<Rpc.NodeEvent> queue, CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var report in stream.ReadAllAsync(cancellationToken))
                await queue.WriteAsync(report, cancellationToken);
        }
        finally
        {
            queue.Complete();
        }
    }
}
