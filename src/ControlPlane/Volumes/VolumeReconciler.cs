using Grpc.Core;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane.Nodes;
using Ravel.Durable;
using Ravel.Durable.Reconcilers;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Volumes;

/// <summary>Makes nodes have the volumes that are wanted: every call is idempotent and repeated until the node has confirmed it.</summary>
internal sealed class VolumeReconciler : BackgroundService
{
    private readonly VolumeStore _volumes;
    private readonly NodeDirectory _nodes;
    private readonly ILogger<VolumeReconciler> _log;
    private readonly ReconcilerLoop _sweep;

    public VolumeReconciler(VolumeStore volumes, NodeDirectory nodes, ControlPlaneOptions options, TimeProvider time, ILogger<VolumeReconciler> log)
    {
        (_volumes, _nodes, _log) = (volumes, nodes, log);
        _sweep = new ReconcilerLoop(SweepAsync, options.SweepInterval, BackoffPolicy.Default, time, e => _log.LogError(e, "The sweep over volumes failed"));
    }

    /// <summary>Tells a volume's node once what it shall be.</summary>
    /// <exception cref="RpcException">The node refused it (and it was taken back), or could not be reached.</exception>
    public async Task PushAsync(VolumeRow row, CancellationToken cancellationToken)
    {
        var node = _nodes.Of(row.NodeId);
        if (row.IsDestroying)
        {
            await node.Client.RemoveVolumeAsync(new Rpc.RemoveVolumeRequest { VolumeId = row.Id }, node.Call(cancellationToken));
            await _volumes.RemovedAsync(row.Id, cancellationToken);
            return;
        }
        try
        {
            await node.Client.PutVolumeAsync(
                new Rpc.PutVolumeRequest { VolumeId = row.Id, SizeMib = (ulong)row.SizeMib, SourceId = row.ConfirmedMib == 0 ? row.SourceId ?? "" : "" },
                node.Call(cancellationToken));
        }
        catch (RpcException e) when (IsForGood(e))
        {
            await _volumes.RefusedAsync(row.Id, row.SizeMib, CancellationToken.None);
            throw;
        }
        await _volumes.ConfirmedAsync(row.Id, row.SizeMib, CancellationToken.None);
    }

    /// <summary>The node said no; anything else may come right.</summary>
    public static bool IsForGood(RpcException exception) => exception.StatusCode is StatusCode.FailedPrecondition
        or StatusCode.InvalidArgument or StatusCode.NotFound or StatusCode.PermissionDenied or StatusCode.ResourceExhausted;

    protected override Task ExecuteAsync(CancellationToken stoppingToken) => _sweep.RunAsync(stoppingToken);

    private async Task SweepAsync(CancellationToken cancellationToken)
    {
        foreach (var row in await _volumes.PendingAsync(cancellationToken))
        {
            if (_nodes.Find(row.NodeId) is null)
                continue;
            try
            {
                await PushAsync(row, cancellationToken);
            }
            catch (RpcException e)
            {
                _log.LogWarning("Volume {Volume} could not be brought to its node: {Reason}", row.Id, e.Status.Detail);
            }
        }
    }

    public override void Dispose()
    {
        _sweep.Dispose();
        base.Dispose();
    }
}
