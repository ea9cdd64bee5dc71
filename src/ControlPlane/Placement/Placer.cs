using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Placement;

/// <summary>Where a machine goes, with the capacity held for it until it is committed or expires.</summary>
internal sealed record Allocation(string NodeId, string ReservationId);

/// <summary>
/// Decides where a machine runs: the nodes that look fittest are asked one after another, and the first that holds the room gets it. What
/// this server knows of a node is some seconds old; the node's word counts, so no number of servers can overcommit it.
/// </summary>
internal sealed class Placer(NodeDirectory nodes, ControlPlaneOptions options)
{
    /// <summary>Holds what a machine needs.</summary>
    /// <param name="machineId">The machine.</param>
    /// <param name="generation">Of what shall run.</param>
    /// <param name="resources">What it needs.</param>
    /// <param name="nodeId">The only node it may be on (its disk, a volume or its kernel is there); null for any.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="ProblemException"><c>node-unavailable</c>.</exception>
    /// <exception cref="RpcException">The refusal of the node that was asked last, <c>insufficient-capacity</c> above all.</exception>
    public async Task<Allocation> ReserveAsync(
        string machineId, long generation, Rpc.Resources resources, string? nodeId, CancellationToken cancellationToken)
    {
        if (nodeId is not null)
            return await ReserveAtAsync(nodes.Of(nodeId));
        await nodes.AnyAsync(cancellationToken);
        var candidates = Candidates(resources);
        if (candidates.Count == 0)
            throw NoneReady();
        for (var i = 0; ; i++)
        {
            try
            {
                return await ReserveAtAsync(candidates[i]);
            }
            catch (RpcException e) when (i + 1 < candidates.Count && MayFitElsewhere(e) && !cancellationToken.IsCancellationRequested)
            {
                // The next one.
            }
        }

        async Task<Allocation> ReserveAtAsync(NodeConnection node)
        {
            var id = nodeId ?? node.Info?.NodeId ?? throw new ProblemException(ProblemCodes.NodeUnavailable, "The chosen node went away; try again.");
            var reservation = await node.Client.ReserveAsync(
                new Rpc.ReserveRequest
                {
                    MachineId = machineId,
                    Generation = (ulong)generation,
                    Resources = resources,
                    Ttl = Duration.FromTimeSpan(options.ReservationTtl),
                },
                node.Call(cancellationToken));
            return new Allocation(id, reservation.ReservationId);
        }
    }

    /// <summary>The node for what needs nothing yet.</summary>
    /// <exception cref="ProblemException"><c>node-unavailable</c>.</exception>
    public async Task<string> ChooseAsync(CancellationToken cancellationToken)
    {
        await nodes.AnyAsync(cancellationToken);
        return Candidates(new Rpc.Resources()).Select(c => c.Info?.NodeId).OfType<string>().FirstOrDefault()
            ?? throw NoneReady();
    }

    private static ProblemException NoneReady() =>
        new(ProblemCodes.InsufficientCapacity, "Every node that is reached is cordoned; see 'ravel node ls', and 'ravel node uncordon'.");

    /// <summary>Those that seem to have the room first, the one with the largest share of its memory free before the others.</summary>
    private List<NodeConnection> Candidates(Rpc.Resources wanted) =>
    [
        .. nodes.Reached
            .Select(node => (Node: node, Info: node.Info))
            .Where(n => n.Info is not null && !n.Node.IsCordoned)
            .OrderByDescending(n => Fits(n.Info!, wanted))
            .ThenByDescending(n => FreeShare(n.Info!))
            .ThenBy(n => n.Info!.NodeId, StringComparer.Ordinal)
            .Select(n => n.Node),
    ];

    private static bool Fits(Rpc.NodeInfo node, Rpc.Resources wanted) =>
        node is { Allocated: { } allocated, Capacity: { } capacity }
        && allocated.MemoryMib + wanted.MemoryMib <= capacity.MemoryMib
        && allocated.Cpus + wanted.Cpus <= capacity.Cpus
        && allocated.DiskMib + wanted.DiskMib <= capacity.DiskMib
        && allocated.Machines + wanted.Machines <= capacity.Machines;

    private static double FreeShare(Rpc.NodeInfo node) =>
        node is { Allocated: { } allocated, Capacity.MemoryMib: > 0 and var memory } ? 1 - ((double)allocated.MemoryMib / memory) : 0;

    /// <summary>No room there, or nobody there; anything else is the request's fault and would be refused everywhere.</summary>
    private static bool MayFitElsewhere(RpcException exception) =>
        exception.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.ResourceExhausted
        || ProblemMapper.Refusal(exception).Code is ProblemCodes.InsufficientCapacity or ProblemCodes.DiskFull;
}
