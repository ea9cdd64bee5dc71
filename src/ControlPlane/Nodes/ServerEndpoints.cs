using Google.Protobuf.WellKnownTypes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Events;
using Ravel.ControlPlane.Tokens;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Nodes;

internal static class ServerEndpoints
{
    public static IServiceCollection AddNodes(this IServiceCollection services) => services
        .AddSingleton<NodeDirectory>()
        .AddSingleton<NodeStore>()
        .AddSingleton<EventIntake>()
        .AddHostedService<NodeWatcher>();

    /// <summary>How long machines get to stop before the daemon goes down without waiting further.</summary>
    private static readonly TimeSpan ShutdownTimeout = TimeSpan.FromMinutes(2);

    public static void MapServer(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/server", GetAsync)
            .WithSummary("The server's version; with a token also its node.");
        v1.MapPost("/server/shutdown", ShutdownAsync)
            .WithSummary("Stops every machine of this host, then the daemon; what is declared starts again with it. Administrators only.");
    }

    private static async Task<Ok<Acknowledgement>> ShutdownAsync(
        HttpContext http, NodeDirectory nodes, IHostApplicationLifetime lifetime)
    {
        http.Caller().RequireAdministrator();
        if (nodes.Local is { } node)
        {
            await node.Client.StopAllAsync(
                new Rpc.StopAllRequest { Timeout = Duration.FromTimeSpan(ShutdownTimeout) },
                deadline: null,
                cancellationToken: http.RequestAborted);
        }
        http.Response.OnCompleted(() =>
        {
            lifetime.StopApplication();
            return Task.CompletedTask;
        });
        return TypedResults.Ok(new Acknowledgement(true));
    }

    private static async Task<Ok<ServerInfo>> GetAsync(HttpContext http, NodeDirectory nodes, ControlPlaneOptions options)
    {
        var isKnown = http.Features.Get<Caller>() is not null;
        // Asked anew while it is there: what is allocated changes all the time.
        var info = isKnown && nodes.Local is { Info: not null } node
            ? await node.Client.GetNodeAsync(new Rpc.GetNodeRequest(), node.Call(http.RequestAborted))
            : null;
        return TypedResults.Ok(new ServerInfo { Version = options.Version, Node = info is null ? null : Shown(info) });
    }

    private static NodeSummary Shown(Rpc.NodeInfo node) => new()
    {
        Id = node.NodeId,
        Vmm = node.Vmm,
        VmmVersion = node.VmmVersion,
        Accelerator = node.Accelerator,
        Architecture = node.Architecture,
        Capacity = Shown(node.Capacity),
        Allocated = Shown(node.Allocated),
    };

    internal static NodeResources Shown(Rpc.Resources? resources) => resources is null
        ? new NodeResources(0, 0, 0, 0)
        : new NodeResources(resources.Cpus, (long)resources.MemoryMib, (long)resources.DiskMib, resources.Machines);
}
