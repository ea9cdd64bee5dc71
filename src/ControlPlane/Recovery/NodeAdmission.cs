using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Storage;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Recovery;

/// <summary>
/// What a node that was just reached hears before anything else:
/// <list type="number">
/// <item>copies of machines that went elsewhere are ended, at once and without asking their workloads; nothing goes on until none is left;</item>
/// <item>a lost node is taken back, in a transaction that sees every move away from it;</item>
/// <item>the node is told so, and starts what it held back.</item>
/// </list>
/// Until then nothing is placed there and nothing is told to its machines.
/// </summary>
internal sealed class NodeAdmission(Database database, Departures departures, MachineChanges changes, TimeProvider time, ILogger<NodeAdmission> log)
{
    private static readonly TimeSpan AskAgain = TimeSpan.FromMilliseconds(100);

    public async Task AdmitAsync(NodeConnection node, NodeRow row, CancellationToken cancellationToken)
    {
        if (row.LostAt is null)
        {
            // What was on its way out is told again before the node starts anything by itself.
            foreach (var departure in await departures.DueAsync(row.Id, cancellationToken))
                await departures.EndAsync(node, departure, force: false, cancellationToken);
        }
        else
        {
            do
                await EndStaleAsync(node, row.Id, cancellationToken);
            while (!await TakeBackAsync(row.Id, cancellationToken));
        }
        try
        {
            await node.Client.AdmitAsync(new Rpc.AdmitRequest { Epoch = (ulong)row.Epoch }, node.Call(cancellationToken));
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.Unimplemented)
        {
            // One of before: it holds nothing back.
        }
    }

    private async Task EndStaleAsync(NodeConnection node, string nodeId, CancellationToken cancellationToken)
    {
        var isTold = false;
        while (true)
        {
            var stale = await AllAsync(nodeId, cancellationToken);
            if (stale.Count == 0)
                return;
            if (!isTold)
                log.LogWarning("Node {Node} is back with {Count} machines that went elsewhere; they end before anything else", nodeId, stale.Count);
            isTold = true;
            var ended = await Task.WhenAll(stale.Select(departure => departures.EndAsync(node, departure, force: true, cancellationToken)));
            if (Array.TrueForAll(ended, e => e))
                return;
            await Task.Delay(AskAgain, time, cancellationToken);
        }
    }

    private Task<List<DepartureRow>> AllAsync(string nodeId, CancellationToken cancellationToken) =>
        database.ReadAsync(db => db.Departures.Where(d => d.NodeId == nodeId).ToListAsync(cancellationToken), cancellationToken);

    /// <summary>False: a machine was moved away meanwhile.</summary>
    private async Task<bool> TakeBackAsync(string nodeId, CancellationToken cancellationToken)
    {
        var waiting = await database.WriteAsync(
            async db =>
            {
                // First, so that a move is either seen below or finds the node taken back.
                await db.Nodes.Where(n => n.Id == nodeId).ExecuteUpdateAsync(row => row.SetProperty(n => n.Epoch, n => n.Epoch), cancellationToken);
                if (await db.Departures.AnyAsync(d => d.NodeId == nodeId, cancellationToken))
                    return null;
                await db.Nodes.Where(n => n.Id == nodeId).ExecuteUpdateAsync(row => row.SetProperty(n => n.LostAt, (DateTimeOffset?)null), cancellationToken);
                var rows = await db.Machines.Where(m => m.NodeId == nodeId && m.ProblemCode == ProblemCodes.NodeLost).ToListAsync(cancellationToken);
                foreach (var row in rows)
                    (row.ProblemCode, row.ProblemMessage) = (null, null);
                return rows.ConvertAll(r => r.Id);
            },
            cancellationToken);
        if (waiting is null)
            return false;
        foreach (var id in waiting)
            changes.Notify(id);
        log.LogInformation("Node {Node} is back", nodeId);
        return true;
    }
}
