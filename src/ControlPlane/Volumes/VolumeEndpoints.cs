using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Tokens;

namespace Ravel.ControlPlane.Volumes;

internal static class VolumeEndpoints
{
    private const long Gibibyte = 1024;
    private const long SmallestMib = 16;
    private const long LargestMib = 16 * 1024 * 1024;

    public static IServiceCollection AddVolumes(this IServiceCollection services) => services
        .AddSingleton<VolumeStore>()
        .AddSingleton<VolumeReconciler>()
        .AddHostedService(s => s.GetRequiredService<VolumeReconciler>());

    public static void MapVolumes(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/volumes", ListAllAsync).WithSummary("List the volumes of a namespace (Ravel's addition); ?include_snapshots=true their snapshots too.");
        var volumes = v1.MapGroup("/apps/{app}/volumes");
        volumes.MapGet("", ListAsync).WithSummary("List the volumes of an app; ?include_snapshots=true their snapshots too.");
        volumes.MapPost("", CreateAsync).WithSummary("Create a volume, empty or from a snapshot.");
        volumes.MapGet("/{id}", GetAsync).WithSummary("Show a volume or a snapshot.");
        volumes.MapDelete("/{id}", DeleteAsync).WithSummary("Delete a volume or a snapshot; refused while a machine has it.");
        volumes.MapPut("/{id}/extend", ExtendAsync).WithSummary("Make a volume larger; a machine sees it at its next start.");
        volumes.MapGet("/{id}/snapshots", ListSnapshotsAsync).WithSummary("List the snapshots of a volume, also of one that is deleted.");
        volumes.MapPost("/{id}/snapshots", SnapshotAsync).WithSummary("Keep a copy of a volume as it is now.");
    }

    private static async Task<Ok<IReadOnlyList<Volume>>> ListAllAsync(
        HttpContext http, VolumeStore volumes, [FromQuery(Name = "include_snapshots")] bool? includeSnapshots) =>
        Shown(await volumes.ListAsync(http.Tenant(), null, includeSnapshots ?? false, http.RequestAborted));

    private static async Task<Ok<IReadOnlyList<Volume>>> ListAsync(
        string app, HttpContext http, VolumeStore volumes, [FromQuery(Name = "include_snapshots")] bool? includeSnapshots) =>
        Shown(await volumes.ListAsync(http.Tenant(), app, includeSnapshots ?? false, http.RequestAborted));

    private static async Task<Ok<IReadOnlyList<Volume>>> ListSnapshotsAsync(string app, string id, HttpContext http, VolumeStore volumes) =>
        Shown(await volumes.SnapshotsAsync(http.Tenant(), app, id, http.RequestAborted));

    private static async Task<Ok<Volume>> GetAsync(string app, string id, HttpContext http, VolumeStore volumes) =>
        TypedResults.Ok((await volumes.GetAsync(http.Tenant(), app, id, http.RequestAborted)).Shown());

    private static async Task<Ok<Volume>> CreateAsync(
        string app, CreateVolumeRequest request, HttpContext http, VolumeStore volumes, VolumeReconciler reconciler, Placer placer, TimeProvider time)
    {
        Names.Check("name", request.Name);
        if (VolumeId.TryParse(request.Name, out _))
            throw ProblemException.Invalid("name must not look like a volume's id.");
        var tenant = http.Tenant();
        var source = (request.SnapshotId ?? request.SourceVolumeId) is { Length: > 0 } from
            ? (await volumes.GetAsync(tenant, app, from, http.RequestAborted)).Row
            : null;
        if (source is not null)
            VolumeStore.CheckThere(source);
        var mib = Size(request.SizeGb, request.SizeMb) ?? source?.SizeMib ?? Gibibyte;
        if (mib < source?.SizeMib)
            throw ProblemException.Invalid($"size_mb must be at least {source.SizeMib}, the size of {source.Id}.");
        var row = NewRow(tenant, request.Name, source?.NodeId ?? await placer.ChooseForVolumeAsync(mib, http.RequestAborted), mib, source?.Id, time);
        row.LiveName = row.Name;
        return TypedResults.Ok(await MakeAsync(app, row, volumes, reconciler));
    }

    private static async Task<Ok<Volume>> SnapshotAsync(
        string app, string id, HttpContext http, VolumeStore volumes, VolumeReconciler reconciler, TimeProvider time)
    {
        var (source, _, _) = await volumes.GetAsync(http.Tenant(), app, id, http.RequestAborted);
        VolumeStore.CheckThere(source);
        var row = NewRow(http.Tenant(), source.Name, source.NodeId, source.SizeMib, source.Id, time);
        row.IsSnapshot = true;
        return TypedResults.Ok(await MakeAsync(app, row, volumes, reconciler));
    }

    private static async Task<Ok<ExtendVolumeResponse>> ExtendAsync(
        string app, string id, ExtendVolumeRequest request, HttpContext http, VolumeStore volumes, VolumeReconciler reconciler)
    {
        var mib = Size(request.SizeGb, request.SizeMb) ?? throw ProblemException.Invalid("size_gb or size_mb must say the new size.");
        var volume = await volumes.ChangeAsync(
            http.Tenant(),
            app,
            id,
            found =>
            {
                if (found.Row.IsSnapshot || found.Row.IsDestroying)
                    throw new ProblemException(ProblemCodes.IllegalState, $"{found.Row.Id} is {(found.Row.IsSnapshot ? "a snapshot" : "being destroyed")} and can't grow.");
                if (mib < found.Row.SizeMib)
                    throw ProblemException.Invalid($"size_mb must be at least {found.Row.SizeMib}: a volume can't shrink.");
                found.Row.SizeMib = mib;
            },
            http.RequestAborted);
        await PushAsync(volume.Row, reconciler);
        var shown = (await volumes.GetAsync(http.Tenant(), app, volume.Row.Id, CancellationToken.None)).Shown();
        return TypedResults.Ok(new ExtendVolumeResponse(shown, shown.AttachedMachineId is not null));
    }

    private static async Task<Ok<Volume>> DeleteAsync(string app, string id, HttpContext http, VolumeStore volumes, VolumeReconciler reconciler)
    {
        var volume = await volumes.ChangeAsync(
            http.Tenant(),
            app,
            id,
            found =>
            {
                if (found.Machine is { } machine)
                    throw new ProblemException(ProblemCodes.VolumeInUse, $"Volume {found.Row.Name} ({found.Row.Id}) is attached to machine {machine}; destroy that first.");
                found.Row.IsDestroying = true;
            },
            http.RequestAborted);
        try
        {
            await PushAsync(volume.Row, reconciler);
        }
        catch (RpcException)
        {
            // Refused (a machine that is on its way out has it still): whoever is told so finds the volume as it was.
            await volumes.KeptAsync(volume.Row.Id, CancellationToken.None);
            throw;
        }
        return TypedResults.Ok(volume.Shown());
    }

    private static async Task<Volume> MakeAsync(string app, VolumeRow row, VolumeStore volumes, VolumeReconciler reconciler)
    {
        await volumes.InsertAsync(row.Namespace, app, row, CancellationToken.None);
        await PushAsync(row, reconciler);
        return (await volumes.GetAsync(row.Namespace, app, row.Id, CancellationToken.None)).Shown();
    }

    /// <summary>At once, so that a refusal reaches the caller; a node that is away is told later.</summary>
    private static async Task PushAsync(VolumeRow row, VolumeReconciler reconciler)
    {
        try
        {
            await reconciler.PushAsync(row, CancellationToken.None);
        }
        catch (RpcException e) when (!VolumeReconciler.IsForGood(e))
        {
            // It is wanted; the sweep goes on with it.
        }
    }

    private static VolumeRow NewRow(string tenant, string name, string nodeId, long mib, string? source, TimeProvider time) => new()
    {
        Id = VolumeId.New().Value,
        AppId = "",
        Namespace = tenant,
        Name = name,
        NodeId = nodeId,
        SizeMib = mib,
        SourceId = source,
        CreatedAt = time.GetUtcNow(),
    };

    private static long? Size(int? gb, int? mb)
    {
        if (gb is not null && mb is not null)
            throw ProblemException.Invalid("size_gb and size_mb can't both be given.");
        var mib = mb ?? gb * Gibibyte;
        return mib is null or (>= SmallestMib and <= LargestMib) ? mib : throw ProblemException.Invalid($"size_mb must be {SmallestMib} to {LargestMib}.");
    }

    private static Ok<IReadOnlyList<Volume>> Shown(List<StoredVolume> volumes) =>
        TypedResults.Ok<IReadOnlyList<Volume>>(volumes.ConvertAll(v => v.Shown()));
}
