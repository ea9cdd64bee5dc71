using Grpc.Core;
using Ravel.Agent.Disks;
using Ravel.Agent.Machines;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;

namespace Ravel.Agent;

internal sealed partial class NodeService
{
    private const ulong SmallestVolumeMib = 16;
    private const ulong LargestVolumeMib = 16 * 1024 * 1024;

    public override Task<VolumeStatus> PutVolume(PutVolumeRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        SpecRules.Range("size_mib", request.SizeMib, SmallestVolumeMib, LargestVolumeMib);
        var source = request.SourceId.Length == 0 ? (VolumeId?)null : ParseVolume(request.SourceId);
        return Shown(await _agent.Volumes.PutAsync(ParseVolume(request.VolumeId), (long)request.SizeMib, source));
    });

    public override Task<ListVolumesResponse> ListVolumes(ListVolumesRequest request, ServerCallContext context) => NodeProblems.MapAsync(() =>
    {
        var response = new ListVolumesResponse();
        response.Volumes.AddRange(_agent.Volumes.List().Select(Shown));
        return Task.FromResult(response);
    });

    public override Task<RemoveVolumeResponse> RemoveVolume(RemoveVolumeRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        await _agent.Volumes.RemoveAsync(ParseVolume(request.VolumeId));
        return new RemoveVolumeResponse();
    });

    private static VolumeId ParseVolume(string text) =>
        VolumeId.TryParse(text, out var volume) ? volume : throw SpecRules.Invalid("volume_id is not a volume id (vol_ and 16 hexadecimal digits)");

    private static VolumeStatus Shown(VolumeState volume) => new()
    {
        VolumeId = volume.Id.Value,
        SizeMib = (ulong)volume.Mib,
        UsedMib = (ulong)volume.UsedMib,
        MachineId = volume.Holder?.Value ?? "",
    };
}
