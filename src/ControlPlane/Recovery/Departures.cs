using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Storage;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Recovery;

/// <summary>Has nodes end the copies of machines that went elsewhere.</summary>
internal sealed class Departures(Database database, NodeDirectory directory, ControlPlaneOptions options, ILogger<Departures> log) : IDuty
{
    public string Name => "copies of machines that moved";

    public async Task PassAsync(CancellationToken cancellationToken)
    {
        var due = await DueAsync(nodeId: null, cancellationToken);
        await Parallel.ForEachAsync(
            due.Where(d => directory.Find(d.NodeId) is not null),
            new ParallelOptions { MaxDegreeOfParallelism = options.Recovery.MovesAtOnce, CancellationToken = cancellationToken },
            async (departure, ct) =>
            {
                if (directory.Find(departure.NodeId) is not { } node)
                    return;
                try
                {
                    await EndAsync(node, departure, force: false, ct);
                }
                catch (RpcException e) when (!ct.IsCancellationRequested)
                {
                    log.LogInformation("Node {Node} does not end its copy of machine {Machine} yet: {Reason}", departure.NodeId, departure.MachineId, e.Status.Detail);
                }
            });
    }

    /// <summary>Departures whose time has come: of one node, or of all.</summary>
    public Task<List<DepartureRow>> DueAsync(string? nodeId, CancellationToken cancellationToken) =>
        database.ReadAsync(
            db => db.Departures
                .Where(d => nodeId == null || d.NodeId == nodeId)
                .Where(d => !d.AfterStart || !db.Machines.Any(m => m.Id == d.MachineId && m.DestroyedAt == null
                    && m.Desired == DesiredState.Started && m.StartedGeneration < d.Generation))
                .ToListAsync(cancellationToken),
            cancellationToken);

    /// <summary>Tells the node; a departure is over when it says that nothing is left.</summary>
    /// <param name="node">Where the copy is.</param>
    /// <param name="departure">Which.</param>
    /// <param name="force">Without asking the workload.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>Whether it is over.</returns>
    public async Task<bool> EndAsync(NodeConnection node, DepartureRow departure, bool force, CancellationToken cancellationToken)
    {
        if (!departure.IsBegun && !await BeginAsync(departure, cancellationToken))
            return true;
        var status = await node.Client.PutMachineAsync(
            new Rpc.PutMachineRequest
            {
                MachineId = departure.MachineId,
                Generation = (ulong)departure.Generation,
                Desired = Rpc.DesiredState.Destroyed,
                Force = force,
                Moved = true,
            },
            node.Call(cancellationToken));
        if (status.State != Rpc.MachineState.Destroyed)
            return false;
        await database.WriteAsync(
            db => db.Departures
                .Where(d => d.NodeId == departure.NodeId && d.MachineId == departure.MachineId && d.Generation == departure.Generation)
                .ExecuteDeleteAsync(cancellationToken),
            cancellationToken);
        return true;
    }

    /// <summary>False: it was taken back.</summary>
    private async Task<bool> BeginAsync(DepartureRow departure, CancellationToken cancellationToken) =>
        await database.WriteAsync(
            db => db.Departures
                .Where(d => d.NodeId == departure.NodeId && d.MachineId == departure.MachineId && d.Generation == departure.Generation)
                .ExecuteUpdateAsync(row => row.SetProperty(d => d.IsBegun, true), cancellationToken),
            cancellationToken) == 1;
}
