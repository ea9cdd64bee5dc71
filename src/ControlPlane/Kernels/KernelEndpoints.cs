using System.Runtime.CompilerServices;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Tokens;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Kernels;

/// <summary>
/// The kernels of the node. Every tenant may see and name them, because they are what the host offers; only an administrator
/// changes what is there.
/// </summary>
internal static class KernelEndpoints
{
    public static void MapKernels(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/kernels", ListAsync).WithSummary("List the kernels machines can boot, the default first.");
        v1.MapPost("/kernels", AddAsync)
            .WithMetadata(NodeUpload.AnyLength)
            .Accepts<Stream>("application/octet-stream")
            .WithSummary("Add a kernel: a bzImage, an ELF, or a tar with one and its modules (administrator); ?name= names it.");
        v1.MapPost("/kernels/build", BuildAsync)
            .Produces<KernelProgress>(StatusCodes.Status200OK, NdjsonStream.ContentType)
            .WithSummary("Build the small kernel unless it is there (administrator); progress as one JSON object a line, the last with the kernel or a problem.");
        v1.MapPut("/kernels/default", SetDefaultAsync).WithSummary("Choose what machines boot that name no kernel (administrator).");
        v1.MapDelete("/kernels/{reference}", RemoveAsync).WithSummary("Remove a kernel that no machine uses (administrator).");
    }

    private static async Task<Ok<KernelList>> ListAsync(HttpContext http, NodeDirectory nodes)
    {
        var node = await nodes.AskedForAsync(http);
        var answer = await node.Client.ListKernelsAsync(new Rpc.ListKernelsRequest(), node.Call(http.RequestAborted));
        return TypedResults.Ok(new KernelList(answer.Kernels.Select(Shown).ToList()));
    }

    private static async Task<Ok<Kernel>> AddAsync(string? name, HttpContext http, NodeDirectory nodes, ControlPlaneOptions options)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        using var call = node.Client.AddKernel(cancellationToken: http.RequestAborted);
        await NodeUpload.SendAsync(
            http,
            call.RequestStream,
            new Rpc.AddKernelChunk { Name = name ?? "" },
            data => new Rpc.AddKernelChunk { Data = data },
            options.MaxKernelBytes,
            "kernel");
        return TypedResults.Ok(Shown(await call.ResponseAsync));
    }

    private static async Task BuildAsync(HttpContext http, NodeDirectory nodes)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        await NdjsonStream.WriteAsync(
            http,
            ReadProgressAsync(node.Client, http.RequestAborted),
            ApiJson.Default.KernelProgress,
            e => new KernelProgress { Problem = ProblemMapper.FromException(e, http.Request.Path) });
    }

    private static async IAsyncEnumerable<KernelProgress> ReadProgressAsync(
        Rpc.Node.NodeClient client, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var stream = client.BuildKernel(new Rpc.BuildKernelRequest(), cancellationToken: cancellationToken);
        await foreach (var progress in stream.ResponseStream.ReadAllAsync(cancellationToken))
        {
            yield return progress.KindCase == Rpc.BuildKernelProgress.KindOneofCase.Kernel
                ? new KernelProgress { Kernel = Shown(progress.Kernel) }
                : new KernelProgress
                {
                    Phase = progress.Step.Phase,
                    Done = progress.Step.Total > 0 ? (int)progress.Step.Done : null,
                    Total = progress.Step.Total > 0 ? (int)progress.Step.Total : null,
                };
        }
    }

    private static async Task<Ok<Kernel>> SetDefaultAsync(SetDefaultKernelRequest request, HttpContext http, NodeDirectory nodes)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        var kernel = await node.Client.SetDefaultKernelAsync(
            new Rpc.SetDefaultKernelRequest { Reference = request.Kernel }, node.Call(http.RequestAborted));
        return TypedResults.Ok(Shown(kernel));
    }

    private static async Task<Ok<Kernel>> RemoveAsync(string reference, HttpContext http, NodeDirectory nodes)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        var kernel = await node.Client.RemoveKernelAsync(new Rpc.RemoveKernelRequest { Reference = reference }, node.Call(http.RequestAborted));
        return TypedResults.Ok(Shown(kernel));
    }

    private static Kernel Shown(Rpc.Kernel kernel) => new()
    {
        Digest = kernel.Digest,
        Name = kernel.Name,
        Release = kernel.Release,
        Format = kernel.Format,
        Size = (long)kernel.Bytes,
        Modules = (int)kernel.Modules,
        Origin = kernel.Origin,
        CreatedAt = kernel.CreatedAt?.ToDateTimeOffset() ?? DateTimeOffset.UnixEpoch,
        Default = kernel.IsDefault,
        Machines = (int)kernel.Machines,
    };
}
