using System.Net.Http.Json;
using Ravel.Cli.Errors;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

internal sealed partial class ApiClient
{
    /// <summary>Every volume of the namespace, whatever its app.</summary>
    public Task<IReadOnlyList<Volume>> ListVolumesAsync(CancellationToken cancellationToken) =>
        GetAsync("volumes", "v1/volumes", ApiJson.Default.IReadOnlyListVolume, cancellationToken);

    public Task<IReadOnlyList<Volume>> ListSnapshotsAsync(Volume volume, CancellationToken cancellationToken) =>
        GetAsync(volume.Name, $"{PathOf(volume)}/snapshots", ApiJson.Default.IReadOnlyListVolume, cancellationToken);

    /// <summary>Creates a volume, and its app if that is not there yet.</summary>
    public async Task<Volume> CreateVolumeAsync(string app, CreateVolumeRequest request, CancellationToken cancellationToken)
    {
        var path = $"v1/apps/{Uri.EscapeDataString(app)}/volumes";
        try
        {
            return await PostAsync(request.Name, path, request, ApiJson.Default.CreateVolumeRequest, ApiJson.Default.Volume, cancellationToken);
        }
        catch (ProblemException e) when (e.Problem.Code == ProblemCodes.AppNotFound)
        {
            await EnsureAppAsync(app, cancellationToken);
            return await PostAsync(request.Name, path, request, ApiJson.Default.CreateVolumeRequest, ApiJson.Default.Volume, cancellationToken);
        }
    }

    public async Task<Volume> SnapshotVolumeAsync(Volume volume, CancellationToken cancellationToken)
    {
        using var response = await SendAsync(volume.Name, HttpMethod.Post, $"{PathOf(volume)}/snapshots", null, cancellationToken);
        return await ReadAsync(volume.Name, response, ApiJson.Default.Volume, cancellationToken);
    }

    public async Task<ExtendVolumeResponse> ExtendVolumeAsync(Volume volume, int mib, CancellationToken cancellationToken)
    {
        using var content = JsonContent.Create(new ExtendVolumeRequest { SizeMb = mib }, ApiJson.Default.ExtendVolumeRequest);
        using var response = await SendAsync(volume.Name, HttpMethod.Put, $"{PathOf(volume)}/extend", content, cancellationToken);
        return await ReadAsync(volume.Name, response, ApiJson.Default.ExtendVolumeResponse, cancellationToken);
    }

    public Task DeleteVolumeAsync(Volume volume, CancellationToken cancellationToken) =>
        CallAsync(volume.Name, HttpMethod.Delete, PathOf(volume), null, cancellationToken);

    private static string PathOf(Volume volume) => $"v1/apps/{Uri.EscapeDataString(volume.App)}/volumes/{volume.Id}";
}
