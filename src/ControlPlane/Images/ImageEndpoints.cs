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

namespace Ravel.ControlPlane.Images;

/// <summary>
/// The images of the node. They are shared by all tenants of a host, so only an administrator lists, imports, verifies and removes
/// them; a tenant may pull, which tells it nothing about others.
/// </summary>
internal static class ImageEndpoints
{
    private const string ArchiveType = "application/x-tar";
    private const int MaxChoice = 1024;

    public static void MapImages(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/images", ListAsync).WithSummary("List the images of the node (administrator).");
        v1.MapPost("/images/pull", PullAsync)
            .Produces<PullProgress>(StatusCodes.Status200OK, NdjsonStream.ContentType)
            .WithSummary("Pull an image; progress as one JSON object a line, the last with the image or a problem.");
        v1.MapPost("/images/import", ImportAsync)
            .WithMetadata(NodeUpload.AnyLength)
            .Accepts<Stream>("application/octet-stream")
            .WithSummary("Import an oci-archive or docker-archive, also compressed (administrator); ?image= picks one of several, ?reference= names it.");
        v1.MapGet("/images/export", ExportAsync)
            .Produces(StatusCodes.Status200OK, contentType: ArchiveType)
            .WithSummary("Export an image as a tar (administrator); ?reference=, ?format=oci-archive|docker-archive.");
        v1.MapGet("/images/inspect", InspectAsync)
            .WithSummary("All there is to know of one image: ?reference= is a reference, digest or unique prefix of one (administrator).");
        v1.MapPost("/images/prune", PruneAsync).WithSummary("Remove images without a name, or all, that no machine uses (administrator).");
        v1.MapPost("/images/verify", VerifyAsync)
            .Produces<VerifiedImage>(StatusCodes.Status200OK, NdjsonStream.ContentType)
            .WithSummary("Read root file systems again and compare them with what was built; a JSON object a line for each (administrator).");
        v1.MapDelete("/images/{**reference}", DeleteAsync)
            .WithSummary("Remove an image by reference, digest or unique prefix of one (administrator).");
    }

    private static async Task<Ok<ImageList>> ListAsync(HttpContext http, NodeDirectory nodes)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        var answer = await node.Client.ListImagesAsync(new Rpc.ListImagesRequest(), node.Call(http.RequestAborted));
        return TypedResults.Ok(new ImageList(answer.Images.Select(Shown).ToList()));
    }

    private static async Task PullAsync(PullImageRequest request, HttpContext http, NodeDirectory nodes)
    {
        var node = await nodes.AskedForAsync(http);
        if (!ImageReference.TryParse(request.Reference, out _))
            throw ProblemException.Invalid("reference must be an image reference such as nginx or registry.example:5000/team/app:1.2.");
        var policy = request.PullPolicy switch
        {
            null or "missing" => Rpc.PullPolicy.Missing,
            "always" => Rpc.PullPolicy.Always,
            "never" => Rpc.PullPolicy.Never,
            _ => throw ProblemException.Invalid("pull_policy must be one of missing, always, never."),
        };
        var progress = ReadProgressAsync(node.Client, request.Reference, policy, http.RequestAborted);
        await NdjsonStream.WriteAsync(
            http, progress, ApiJson.Default.PullProgress, e => new PullProgress { Problem = ProblemMapper.FromException(e, http.Request.Path) });
    }

    private static async IAsyncEnumerable<PullProgress> ReadProgressAsync(
        Rpc.Node.NodeClient client, string reference, Rpc.PullPolicy policy, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var stream = client.PullImage(new Rpc.PullImageRequest { Reference = reference, Policy = policy }, cancellationToken: cancellationToken);
        await foreach (var progress in stream.ResponseStream.ReadAllAsync(cancellationToken))
        {
            yield return progress.KindCase switch
            {
                Rpc.PullImageProgress.KindOneofCase.Layer => new PullProgress
                {
                    Phase = "pull",
                    Layer = progress.Layer.Digest,
                    Received = (long)progress.Layer.ReceivedBytes,
                    Total = (long)progress.Layer.TotalBytes,
                    BytesPerSecond = (long)progress.Layer.BytesPerSecond,
                },
                Rpc.PullImageProgress.KindOneofCase.Registry => new PullProgress { Phase = "pull", Registry = progress.Registry },
                Rpc.PullImageProgress.KindOneofCase.Image => new PullProgress { Image = Shown(progress.Image) },
                _ => new PullProgress { Phase = progress.Phase },
            };
        }
    }

    private static async Task<Ok<Image>> ImportAsync(string? reference, string? image, HttpContext http, NodeDirectory nodes, ControlPlaneOptions options)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        if (!string.IsNullOrEmpty(reference) && !ImageReference.TryParse(reference, out _))
            throw ProblemException.Invalid("reference must be an image reference such as team/app:1.2.");
        if (image is { Length: > MaxChoice } || image?.Any(char.IsControl) == true)
            throw ProblemException.Invalid($"image must be a name of the archive in up to {MaxChoice} characters, or @ and a number.");
        using var call = node.Client.ImportImage(cancellationToken: http.RequestAborted);
        await NodeUpload.SendAsync(
            http,
            call.RequestStream,
            new Rpc.ImportImageChunk { Reference = reference ?? "", Choice = image ?? "" },
            data => new Rpc.ImportImageChunk { Data = data },
            options.MaxImportBytes,
            "archive");
        return TypedResults.Ok(Shown(await call.ResponseAsync));
    }

    private static async Task ExportAsync(string? reference, string? format, HttpContext http, NodeDirectory nodes)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        if (string.IsNullOrEmpty(reference) || reference.Length > MaxChoice || reference.Any(char.IsControl))
            throw ProblemException.Invalid("reference must be the name, digest or unique prefix of a digest of an image of the node.");
        var request = new Rpc.ExportImageRequest
        {
            Reference = reference,
            Format = format switch
            {
                null or "oci-archive" => Rpc.ExportFormat.OciArchive,
                "docker-archive" => Rpc.ExportFormat.DockerArchive,
                _ => throw ProblemException.Invalid("format must be one of oci-archive, docker-archive."),
            },
        };
        using var call = node.Client.ExportImage(request, cancellationToken: http.RequestAborted);
        // A refusal comes instead of the first message, so it can still be a problem.
        var chunks = call.ResponseStream.ReadAllAsync(http.RequestAborted).GetAsyncEnumerator(http.RequestAborted);
        await using (chunks)
        {
            if (!await chunks.MoveNextAsync())
                throw new ProblemException(ProblemCodes.NodeUnavailable, "The node sent no archive.");
            http.Response.ContentType = ArchiveType;
            // What breaks off behind this is shorter than it says, and so no client takes it for whole.
            http.Response.ContentLength = (long)chunks.Current.TotalBytes;
            while (await chunks.MoveNextAsync())
                await http.Response.Body.WriteAsync(chunks.Current.Data.Memory, http.RequestAborted);
        }
    }

    private static async Task<Ok<RemovedImages>> DeleteAsync(string reference, HttpContext http, NodeDirectory nodes)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        var answer = await node.Client.RemoveImageAsync(new Rpc.RemoveImageRequest { Reference = reference }, node.Call(http.RequestAborted));
        return TypedResults.Ok(new RemovedImages(answer.Removed.ToList()));
    }

    private static async Task<Ok<ImageDetails>> InspectAsync(string? reference, HttpContext http, NodeDirectory nodes)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        if (string.IsNullOrEmpty(reference))
            throw ProblemException.Invalid("reference must be an image reference, a digest or a unique prefix of one.");
        var answer = await node.Client.InspectImageAsync(new Rpc.InspectImageRequest { Reference = reference }, node.Call(http.RequestAborted));
        return TypedResults.Ok(new ImageDetails
        {
            Image = Shown(answer.Image),
            RootfsDigest = answer.RootfsDigest,
            Layers = answer.Layers.Select(layer => new ImageLayer(layer.Digest, (long)layer.Bytes)).ToList(),
            Config = new ImageRunConfig
            {
                Architecture = answer.Architecture,
                Entrypoint = answer.Entrypoint.ToList(),
                Cmd = answer.Command.ToList(),
                Env = answer.Environment.Select(variable => $"{variable.Name}={variable.Value}").ToList(),
                User = answer.User,
                WorkingDir = answer.WorkingDirectory,
                StopSignal = answer.StopSignal,
                ExposedPorts = answer.ExposedPorts.ToList(),
                Volumes = answer.Volumes.ToList(),
                Labels = answer.Labels.ToDictionary(StringComparer.Ordinal),
            },
        });
    }

    private static async Task<Ok<PrunedImages>> PruneAsync(PruneImagesRequest request, HttpContext http, NodeDirectory nodes)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        var answer = await node.Client.PruneImagesAsync(
            new Rpc.PruneImagesRequest { All = request.All, DryRun = request.DryRun }, cancellationToken: http.RequestAborted);
        var removed = answer.Removed.Select(Shown).ToList();
        return TypedResults.Ok(new PrunedImages(removed, removed.Sum(image => image.Size)));
    }

    private static async Task VerifyAsync(VerifyImagesRequest request, HttpContext http, NodeDirectory nodes)
    {
        http.Caller().RequireAdministrator();
        var node = await nodes.AskedForAsync(http);
        await NdjsonStream.WriteAsync(
            http, ReadVerifiedAsync(node.Client, request.Reference ?? "", http.RequestAborted), ApiJson.Default.VerifiedImage,
            e => new VerifiedImage { Problem = ProblemMapper.FromException(e, http.Request.Path) });
    }

    private static async IAsyncEnumerable<VerifiedImage> ReadVerifiedAsync(
        Rpc.Node.NodeClient client, string reference, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var stream = client.VerifyImages(new Rpc.VerifyImagesRequest { Reference = reference }, cancellationToken: cancellationToken);
        await foreach (var found in stream.ResponseStream.ReadAllAsync(cancellationToken))
            yield return new VerifiedImage { Image = Shown(found.Image), Damage = found.Damage.Length == 0 ? null : found.Damage };
    }

    internal static Image Shown(Rpc.Image image) => new()
    {
        Digest = image.ManifestDigest,
        References = image.References.ToList(),
        Size = (long)image.RootfsBytes,
        CreatedAt = image.CreatedAt?.ToDateTimeOffset() ?? DateTimeOffset.UnixEpoch,
        LastUsedAt = image.LastUsedAt?.ToDateTimeOffset(),
        Machines = image.MachineIds.ToList(),
        Imported = image.Imported,
        Damaged = image.Damaged,
    };
}
