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
/// Decides where a machine runs: the planner names nodes, they are asked one after another, and the first that holds the room gets it. What
/// this server knows of a node is some seconds old; the node's word counts, so no number of servers can overcommit it.
/// </summary>
internal sealed class Placer(NodeDirectory nodes, ControlPlaneOptions options)
{
    /// <summary>So many nodes are asked anew what they hold before a machine is refused.</summary>
    private const int AskedAnew = 64;

    /// <summary>Holds what a machine needs.</summary>
    /// <param name="machineId">The machine; the plan's ties are broken by it.</param>
    /// <param name="generation">Of what shall run.</param>
    /// <param name="resources">What it needs.</param>
    /// <param name="nodeId">The only node it may be on (its disk, a volume or its kernel is there); null for any.</param>
    /// <param name="cancellationToken">Ends the wait; what was reserved expires.</param>
    /// <exception cref="ProblemException"><c>node-unavailable</c>; <c>insufficient-capacity</c> with the reasons against the nodes.</exception>
    /// <exception cref="RpcException">The refusal of the node that was asked last.</exception>
    public async Task<Allocation> ReserveAsync(
        string machineId, long generation, Rpc.Resources resources, string? nodeId, CancellationToken cancellationToken)
    {
        if (nodeId is not null)
            return await ReserveAtAsync(nodes.Of(nodeId), nodeId);
        await nodes.AnyAsync(cancellationToken);
        var index = Index();
        var request = new PlacementRequest { Wanted = ResourceAmounts.Of(resources) };
        var refused = new Dictionary<string, RpcException>(StringComparer.Ordinal);
        for (var isRenewed = false; ; isRenewed = true)
        {
            request = request with { Failures = [.. refused.Keys.Select(id => new NodeFailure(id, 1, TimeSpan.Zero))] };
            var plan = PlacementPlanner.Plan(index, request, 1, SeededDraws.SeedOf(machineId));
            foreach (var candidate in plan.Machines.SelectMany(named => named))
            {
                if (nodes.Find(candidate) is not { } node)
                    continue;
                try
                {
                    return await ReserveAtAsync(node, candidate);
                }
                catch (RpcException e) when (MayFitElsewhere(e) && !cancellationToken.IsCancellationRequested)
                {
                    refused[candidate] = e;
                }
            }
            if (isRenewed || plan.Refusal is { MayPass: false })
                throw Refusal(plan, refused.Values);
            await RenewAsync(index, request, refused.Keys, cancellationToken);
        }

        async Task<Allocation> ReserveAtAsync(NodeConnection node, string id)
        {
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
    /// <exception cref="ProblemException"><c>node-unavailable</c>; <c>insufficient-capacity</c>: no node takes anything.</exception>
    public async Task<string> ChooseAsync(CancellationToken cancellationToken)
    {
        await nodes.AnyAsync(cancellationToken);
        var plan = PlacementPlanner.Plan(Index(), new PlacementRequest { Wanted = default }, 1, seed: 0);
        return plan.Refusal is null ? plan.Machines[0][0] : throw Refusal(plan, []);
    }

    private PlacementIndex Index()
    {
        var index = new PlacementIndex();
        foreach (var node in nodes.Reached)
        {
            if (node.Info is { } info)
                index.Put(View(node, info));
        }
        return index;
    }

    private static NodeView View(NodeConnection node, Rpc.NodeInfo info) =>
        NodeView.Of(info) with { Condition = node.IsCordoned ? NodeCondition.Cordoned : NodeCondition.Ready };

    /// <summary>Asks those that have refused, and those that seemed to lack room, what they hold now: something may have ended there.</summary>
    private async Task RenewAsync(
        PlacementIndex index, PlacementRequest request, IReadOnlyCollection<string> refused, CancellationToken cancellationToken)
    {
        var asked = index.Nodes
            .Where(node => refused.Contains(node.View.Id) || PlacementFilters.Judge(request, node) >= RefusalReason.Machines)
            .OrderByDescending(node => refused.Contains(node.View.Id))
            .Take(AskedAnew)
            .Select(node => node.View);
        foreach (var view in await Task.WhenAll(asked.Select(AskAsync)))
            index.Put(view);

        async Task<NodeView> AskAsync(NodeView view)
        {
            try
            {
                return nodes.Find(view.Id) is { } node
                    ? View(node, await node.Client.GetNodeAsync(new Rpc.GetNodeRequest(), node.Call(cancellationToken)))
                    : view with { Condition = NodeCondition.Unreachable };
            }
            catch (RpcException) when (!cancellationToken.IsCancellationRequested)
            {
                return view with { Condition = NodeCondition.Unreachable };
            }
        }
    }

    /// <summary>The reasons against all nodes; or, where a node refused for one that its view does not show, its own.</summary>
    private static Exception Refusal(PlacementPlan plan, IReadOnlyCollection<RpcException> refused) =>
        refused.FirstOrDefault(e => ProblemMapper.Refusal(e).Code != ProblemCodes.InsufficientCapacity)
        ?? (plan.Refusal is { } refusal
            ? new ProblemException(ProblemCodes.InsufficientCapacity, refusal.ToString())
            : refused.LastOrDefault() ?? (Exception)new ProblemException(ProblemCodes.NodeUnavailable, "The chosen node went away; try again."));

    /// <summary>No room there, or nobody there; anything else is the request's fault and would be refused everywhere.</summary>
    private static bool MayFitElsewhere(RpcException exception) =>
        exception.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.ResourceExhausted
        || ProblemMapper.Refusal(exception).Code is ProblemCodes.InsufficientCapacity or ProblemCodes.DiskFull;
}
