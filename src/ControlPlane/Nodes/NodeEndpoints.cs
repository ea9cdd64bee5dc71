using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Tokens;

namespace Ravel.ControlPlane.Nodes;

/// <summary>The hosts that machines run on, for administrators.</summary>
internal static class NodeEndpoints
{
    public static void MapNodes(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/nodes", ListAsync).WithSummary("List the nodes (administrator).");
        v1.MapGet("/nodes/{id}", GetAsync).WithSummary("Show a node (administrator).");
        v1.MapPost("/nodes/{id}/cordon", CordonAsync).WithSummary("Place nothing new on a node; what runs there runs on (administrator).");
        v1.MapPost("/nodes/{id}/uncordon", UncordonAsync).WithSummary("Place machines on a node again (administrator).");
        v1.MapDelete("/nodes/{id}", RemoveAsync).WithSummary("Forget a node that is gone and has no machines (administrator).");
    }

    private static async Task<Ok<IReadOnlyList<Node>>> ListAsync(HttpContext http, NodeStore nodes, NodeDirectory directory)
    {
        http.Caller().RequireAdministrator();
        IReadOnlyList<Node> shown = (await nodes.ListAsync(http.RequestAborted)).ConvertAll(node => Shown(node, directory));
        return TypedResults.Ok(shown);
    }

    private static async Task<Ok<Node>> GetAsync(string id, HttpContext http, NodeStore nodes, NodeDirectory directory)
    {
        http.Caller().RequireAdministrator();
        return TypedResults.Ok(Shown(await nodes.GetAsync(id, http.RequestAborted), directory));
    }

    private static Task<Ok<Node>> CordonAsync(string id, HttpContext http, NodeStore nodes, NodeDirectory directory) =>
        SetCordonAsync(id, isCordoned: true, http, nodes, directory);

    private static Task<Ok<Node>> UncordonAsync(string id, HttpContext http, NodeStore nodes, NodeDirectory directory) =>
        SetCordonAsync(id, isCordoned: false, http, nodes, directory);

    private static async Task<Ok<Node>> SetCordonAsync(string id, bool isCordoned, HttpContext http, NodeStore nodes, NodeDirectory directory)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.CordonAsync(id, isCordoned, http.RequestAborted);
        directory.SetCordon(id, isCordoned);
        return TypedResults.Ok(Shown(node, directory));
    }

    private static async Task<Ok<Acknowledgement>> RemoveAsync(string id, HttpContext http, NodeStore nodes, NodeDirectory directory, Fleet fleet)
    {
        http.Caller().RequireAdministrator();
        await nodes.RemoveAsync(id, isReached: directory.Find(id) is not null, http.RequestAborted);
        directory.Remove(id);
        fleet.Remove(id);
        return TypedResults.Ok(new Acknowledgement(true));
    }

    private static Node Shown(StoredNode node, NodeDirectory directory)
    {
        var (row, machines) = node;
        var info = directory.Find(row.Id)?.Info;
        return new Node
        {
            Id = row.Id,
            State = row.LostAt is not null ? NodeStates.Lost : info is null ? NodeStates.Unreachable : row.IsCordoned ? NodeStates.Cordoned : NodeStates.Ready,
            IsCordoned = row.IsCordoned,
            Version = info?.Version,
            Vmm = row.Vmm,
            VmmVersion = row.VmmVersion,
            Accelerator = info?.Accelerator,
            Architecture = row.Architecture,
            SeenAt = row.SeenAt,
            MachineCount = machines,
            Capacity = info is null ? null : ServerEndpoints.Shown(info.Capacity),
            Allocated = info is null ? null : ServerEndpoints.Shown(info.Allocated),
        };
    }
}
