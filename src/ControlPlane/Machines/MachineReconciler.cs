using Grpc.Core;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Ravel.Durable;
using Ravel.Durable.Mailboxes;
using Ravel.Durable.Reconcilers;

namespace Ravel.ControlPlane.Machines;

/// <summary>
/// Makes nodes know what is wanted. Observe the row, plan (push it, if its node has not confirmed its generation), apply by an
/// idempotent PutMachine. One push at a time per machine; run on signal, when the node comes back, and on a timer.
/// </summary>
internal sealed class MachineReconciler : BackgroundService
{
    private readonly MachineStore _machines;
    private readonly MachineGroups _groups;
    private readonly IdempotencyKeys _keys;
    private readonly MachineChanges _changes;
    private readonly NodeDirectory _nodes;
    private readonly ControlPlaneOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger<MachineReconciler> _log;
    private readonly KeyedMailboxes<string> _mailboxes;
    private readonly ReconcilerLoop _sweep;

    public MachineReconciler(
        MachineStore machines,
        MachineGroups groups,
        IdempotencyKeys keys,
        MachineChanges changes,
        NodeDirectory nodes,
        ControlPlaneOptions options,
        TimeProvider time,
        ILogger<MachineReconciler> log)
    {
        (_machines, _groups, _keys, _changes, _nodes, _options, _time, _log) = (machines, groups, keys, changes, nodes, options, time, log);
        // A push that failed waits for the sweep or for the node to come back: both are near, and neither stampedes.
        _mailboxes = new KeyedMailboxes<string>(1, PushAsync, (id, e) => _log.LogWarning(e, "Machine {Machine} could not be pushed to its node", id));
        _sweep = new ReconcilerLoop(SweepAsync, options.SweepInterval, BackoffPolicy.Default, time, e => _log.LogError(e, "The sweep over machines failed"));
    }

    /// <summary>Call after the commit of a change.</summary>
    public void Signal(string machineId) => _mailboxes.Signal(machineId);

    /// <summary>Looks at every machine soon.</summary>
    public void SignalAll() => _sweep.Signal();

    /// <summary>The plan: whether a machine's node must be told something. Pure.</summary>
    internal static bool MustPush(MachineRow row) =>
        row.ObservedState != MachineStates.Destroyed
        && row.AcceptedGeneration < row.Generation
        && (row.RefusedGeneration < row.Generation || row.Desired == DesiredState.Destroyed);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await _sweep.RunAsync(stoppingToken);
        await _mailboxes.DisposeAsync();
    }

    private async Task SweepAsync(CancellationToken cancellationToken)
    {
        foreach (var id in await _machines.PendingAsync(cancellationToken))
            _mailboxes.Signal(id);
        await _keys.ForgetAsync(cancellationToken);
        await _machines.ForgetAsync(_time.GetUtcNow() - _options.DestroyedRetention, cancellationToken);
    }

    private async Task PushAsync(string id, CancellationToken cancellationToken)
    {
        // An answer can lead to the next intent (a start after a stop): until nothing is left to say.
        var found = await _groups.FindAsync(id);
        while (found is var (row, app) && MustPush(row))
        {
            // Not reached: the watcher signals when it is.
            if (_nodes.Find(row.NodeId) is not { } node)
                return;
            try
            {
                var status = await node.Client.PutMachineAsync(MachineSpecs.Command(row, app), node.Call(cancellationToken));
                found = await _groups.AnsweredAsync(id, row.NodeId, status) is { } now ? new StoredMachine(now, app) : null;
            }
            catch (RpcException e) when (IsForGood(e, row.Desired))
            {
                var (code, message) = ProblemMapper.Refusal(e);
                _log.LogInformation("The node refused machine {Machine}: {Code}: {Message}", id, code, message);
                await _machines.RefusedAsync(id, row.Generation, code, message, cancellationToken);
                found = await _groups.FindAsync(id);
            }
            _changes.Notify(id);
        }
    }

    /// <summary>
    /// The same command would be refused again; only a change by the user, or room on the node, can help. A stop and a destruction are told
    /// again and again: what a full disk keeps from being written down can be once it is not full.
    /// </summary>
    private static bool IsForGood(RpcException exception, DesiredState desired) => exception.StatusCode switch
    {
        _ when desired == DesiredState.Destroyed => false,
        StatusCode.ResourceExhausted => desired != DesiredState.Stopped,
        StatusCode.FailedPrecondition or StatusCode.InvalidArgument or StatusCode.NotFound or StatusCode.PermissionDenied => true,
        _ => false,
    };

    public override void Dispose()
    {
        _sweep.Dispose();
        base.Dispose();
    }
}
