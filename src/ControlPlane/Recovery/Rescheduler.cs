using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Recovery;

/// <summary>Starts elsewhere what ran on nodes that are lost, and says of the rest that it waits for its node.</summary>
internal sealed class Rescheduler(
    Database database, MachineMoves moves, Placer placer, ControlPlaneOptions options, ILogger<Rescheduler> log) : IDuty
{
    private const int Page = 500;

    public string Name => "machines of lost nodes";

    public async Task PassAsync(CancellationToken cancellationToken)
    {
        var after = "";
        while (true)
        {
            var rows = await database.ReadAsync(
                db => db.Machines
                    .Where(m => m.DestroyedAt == null && string.Compare(m.Id, after) > 0 && db.Nodes.Any(n => n.Id == m.NodeId && n.LostAt != null))
                    .OrderBy(m => m.Id).Take(Page).ToListAsync(cancellationToken),
                cancellationToken);
            await Parallel.ForEachAsync(
                rows,
                new ParallelOptions { MaxDegreeOfParallelism = options.Recovery.MovesAtOnce, CancellationToken = cancellationToken },
                async (row, ct) => await ActAsync(row, ct));
            if (rows.Count < Page)
                return;
            after = rows[^1].Id;
        }
    }

    private async Task ActAsync(MachineRow row, CancellationToken cancellationToken)
    {
        var config = row.ReadConfig();
        var verdict = MoveRules.OnLoss(row, config);
        switch (verdict.Kind)
        {
            case MoveKind.Finish:
                await moves.FinishAsync(row, cancellationToken);
                break;
            case MoveKind.Stay:
                await moves.ReportAsync(row, ProblemCodes.NodeLost, $"Node {row.NodeId} is lost and this machine waits for it: {verdict.Why}.", cancellationToken);
                break;
            case MoveKind.Start:
                await StartElsewhereAsync(row, config, cancellationToken);
                break;
            default:
                break;
        }
    }

    private async Task StartElsewhereAsync(MachineRow row, MachineConfig config, CancellationToken cancellationToken)
    {
        Allocation allocation;
        try
        {
            allocation = await placer.ReserveAsync(row.Id, PlacementOrder.Of(config, row.AppId, null, row.Generation + 1), cancellationToken);
        }
        catch (Exception e) when (e is ProblemException or RpcException && !cancellationToken.IsCancellationRequested)
        {
            var (code, why) = e is RpcException rpc ? ProblemMapper.Refusal(rpc) : (((ProblemException)e).Code, e.Message);
            if (code == ProblemCodes.DatabaseUnavailable)
                throw;
            await moves.ReportAsync(
                row, ProblemCodes.NodeLost, $"Node {row.NodeId} is lost, and no other takes this machine yet; it is tried again. {why}", cancellationToken);
            return;
        }
        if (!await moves.MoveAsync(row, allocation, MoveKind.Start, fromLost: true, "reschedule", cancellationToken))
            await placer.GiveBackAsync([(row.Id, allocation)]);
        else
            log.LogInformation("Machine {Machine} of lost node {Node} starts on {Other}", row.Id, row.NodeId, allocation.NodeId);
    }
}
