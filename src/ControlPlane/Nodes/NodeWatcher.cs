using System.Collections.Concurrent;
using System.Threading.Channels;
using Grpc.Core;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane.Events;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Recovery;
using Ravel.Durable;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Nodes;

/// <summary>
/// Keeps every node of the directory connected: finds out who it is, has everything pushed that it has not confirmed, stores its events
/// and asks how it is until the stream breaks or it does not answer; then again, until the node is taken out.
/// </summary>
internal sealed class NodeWatcher(
    NodeDirectory directory,
    NodeStore nodes,
    EventIntake intake,
    MachineReconciler reconciler,
    NodeAdmission admission,
    ControlPlaneOptions options,
    TimeProvider time,
    ILogger<NodeWatcher> log) : BackgroundService
{
    private const int Batch = 64;

    /// <summary>The node forgets what a new stream acknowledges: after so many events one is opened.</summary>
    private const int EventsPerStream = 2_000;

    /// <summary>Between two looks at a node: what is free there, and whether it is there at all.</summary>
    private static readonly TimeSpan LongestLookInterval = TimeSpan.FromSeconds(4);

    /// <summary>
    /// At most so many looks in all: with more nodes each is looked at less often. Whether one is there shows at its connection; what is free
    /// there is known from what it was asked for.
    /// </summary>
    private const double LooksPerSecond = 500;

    /// <summary>Between two notes in the database that a node is there, at which it also says what it wants of the node.</summary>
    private static readonly TimeSpan LongestNoteInterval = TimeSpan.FromSeconds(30);

    /// <summary>With the interval below ten seconds: that soon a node that vanished is known to be away.</summary>
    private static readonly TimeSpan LookTimeout = TimeSpan.FromSeconds(5);

    private static readonly BackoffPolicy Retry = new(TimeSpan.FromMilliseconds(50), 2, TimeSpan.FromSeconds(5));

    private TimeSpan LookInterval => NoteInterval < LongestLookInterval ? NoteInterval : LongestLookInterval;

    /// <summary>Several in the time after which a node is lost: only what is noted keeps other servers from giving it up.</summary>
    private TimeSpan NoteInterval => options.Recovery.NodeLostAfter / 4 < LongestNoteInterval ? options.Recovery.NodeLostAfter / 4 : LongestNoteInterval;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var watched = new ConcurrentDictionary<NodeConnection, CancellationTokenSource>();
        directory.Removed += connection =>
        {
            if (watched.TryGetValue(connection, out var watch))
                watch.Cancel();
        };
        var running = new List<Task>();
        try
        {
            await foreach (var node in directory.Added.ReadAllAsync(stoppingToken))
            {
                running.RemoveAll(task => task.IsCompleted);
                running.Add(KeepAsync(node));
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Going down.
        }
        await Task.WhenAll(running);

        async Task KeepAsync(NodeConnection node)
        {
            using var watch = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
            watched[node] = watch;
            await RunAsync(node, watch.Token);
            watched.TryRemove(node, out _);
        }
    }

    private async Task RunAsync(NodeConnection node, CancellationToken stoppingToken)
    {
        var failures = 0;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                var askedAt = time.GetTimestamp();
                var info = await LookAsync(node, stoppingToken);
                var row = await nodes.SeenAsync(info, node.EndPoint.NodeId is not null, stoppingToken);
                await admission.AdmitAsync(node, row, stoppingToken);
                node.IsCordoned = row.IsCordoned;
                directory.Set(node, info, askedAt);
                if (failures > 0)
                    log.LogInformation("Node {Node} is reached", info.NodeId);
                failures = 0;
                reconciler.SignalAll();
                await WatchAsync(node, info.NodeId, (ulong)row.LastSequence, stoppingToken);
            }
            catch (Exception) when (stoppingToken.IsCancellationRequested)
            {
                break;
            }
            catch (Exception e)
            {
                directory.Set(node, null, 0);
                failures++;
                if (failures == 1 || e is not (RpcException or ProblemException))
                    log.LogWarning(e, "Node {Node} is not reached; it is tried again until it is", node.EndPoint.Key);
                await Task.Delay(Retry.DelayAfter(failures), time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        directory.Set(node, null, 0);
    }

    private async Task<Rpc.NodeInfo> LookAsync(NodeConnection node, CancellationToken cancellationToken)
    {
        var info = await node.Client.GetNodeAsync(
            new Rpc.GetNodeRequest { ImagesRevision = node.Info?.ImagesRevision ?? "" },
            new CallOptions(deadline: time.GetUtcNow().UtcDateTime + LookTimeout, cancellationToken: cancellationToken));
        // Machines are found by the id a node gives: one with a certificate gives its own.
        if (node.EndPoint.NodeId is { } id && info.NodeId != id)
            throw new RpcException(new Status(StatusCode.Unavailable, $"Node {id} calls itself {info.NodeId}."));
        return info;
    }

    /// <summary>Asks the node how it is, for as long as it answers as itself.</summary>
    private async Task LookAgainAsync(NodeConnection node, string nodeId, CancellationToken cancellationToken)
    {
        var noted = time.GetTimestamp();
        while (true)
        {
            var interval = TimeSpan.FromSeconds(directory.Count / LooksPerSecond);
            await Task.Delay(interval > LookInterval ? interval : LookInterval, time, cancellationToken);
            var askedAt = time.GetTimestamp();
            var info = await LookAsync(node, cancellationToken);
            if (info.NodeId != nodeId)
                throw new RpcException(new Status(StatusCode.Unavailable, $"Where node {nodeId} was is {info.NodeId} now."));
            directory.Set(node, info, askedAt);
            if (time.GetElapsedTime(noted) < NoteInterval)
                continue;
            var row = await nodes.SeenAsync(info, node.EndPoint.NodeId is not null, cancellationToken);
            if (row.LostAt is not null)
                throw new RpcException(new Status(StatusCode.Unavailable, $"Node {nodeId} was given up by another server and is taken back."));
            // Cordoned by another server, perhaps.
            node.IsCordoned = row.IsCordoned;
            noted = time.GetTimestamp();
        }
    }

    private async Task WatchAsync(NodeConnection node, string nodeId, ulong acknowledged, CancellationToken cancellationToken)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var looking = LookAgainAsync(node, nodeId, ending.Token);
        using var stream = node.Client.WatchEvents(new Rpc.WatchEventsRequest { Acknowledged = acknowledged }, cancellationToken: ending.Token);
        // Events that arrive while a batch is being stored make the next batch: one commit for many when there are many.
        var queue = Channel.CreateBounded<Rpc.NodeEvent>(Batch * 4);
        var reading = ReadAsync(stream.ResponseStream, queue.Writer, ending.Token);
        try
        {
            var stored = 0;
            var newest = acknowledged;
            var batch = new List<Rpc.NodeEvent>(Batch);
            while (stored < EventsPerStream)
            {
                var more = queue.Reader.WaitToReadAsync(cancellationToken).AsTask();
                if (await Task.WhenAny(more, looking) == looking)
                    await looking;
                if (!await more)
                    break;
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
            await Task.WhenAll(reading, looking).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
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
