using Google.Protobuf.WellKnownTypes;
using Ravel.ControlPlane.Nodes;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Placement;

/// <summary>Where a machine goes, with the capacity held for it until it is committed or expires.</summary>
internal sealed record Allocation(string NodeId, string ReservationId);

/// <summary>
/// Decides where a machine runs. With one node there is nothing to choose: the node is asked whether it fits, and its word counts.
/// Choosing among many is a plan before that question; asking and committing stay as they are.
/// </summary>
internal sealed class Placer(NodeConnection node, ControlPlaneOptions options)
{
    /// <summary>A server that has just started may be asked before it has reached its node.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    /// <summary>Holds what a machine needs.</summary>
    /// <exception cref="Problems.ProblemException"><c>node-unavailable</c>.</exception>
    /// <exception cref="Grpc.Core.RpcException">The node's refusal, <c>insufficient-capacity</c> above all.</exception>
    public async Task<Allocation> ReserveAsync(
        string machineId, long generation, Rpc.Resources resources, string? nodeId, CancellationToken cancellationToken)
    {
        var chosen = nodeId ?? await ChooseAsync(cancellationToken);
        var reservation = await node.ClientOf(chosen).ReserveAsync(
            new Rpc.ReserveRequest
            {
                MachineId = machineId,
                Generation = (ulong)generation,
                Resources = resources,
                Ttl = Duration.FromTimeSpan(options.ReservationTtl),
            },
            node.Call(cancellationToken));
        return new Allocation(chosen, reservation.ReservationId);
    }

    /// <summary>The node for a machine that needs nothing yet.</summary>
    public async Task<string> ChooseAsync(CancellationToken cancellationToken) =>
        (await node.RequireAsync(Patience, cancellationToken)).NodeId;
}
