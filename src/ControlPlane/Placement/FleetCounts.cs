using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Placement;

/// <summary>
/// Reads how many machines each app has on each node, at the start and then now and then: other servers place machines, too, and nodes
/// do not know whose app a machine is. What this server does itself is counted as it does it.
/// </summary>
internal sealed class FleetCounts(Fleet fleet, Database database, TimeProvider time, ILogger<FleetCounts> log) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(60);

    /// <summary>One reading.</summary>
    internal async Task ReadAsync(CancellationToken cancellationToken)
    {
        var (counts, nodes) = await database.ReadAsync(
            async db =>
            {
                var found = await db.Machines.Where(m => m.DestroyedAt == null)
                    .GroupBy(m => new { m.NodeId, m.AppId })
                    .Select(g => new { g.Key.NodeId, g.Key.AppId, Machines = g.Count() })
                    .ToListAsync(cancellationToken);
                return (found, await db.Nodes.Select(n => n.Id).ToHashSetAsync(StringComparer.Ordinal, cancellationToken));
            },
            cancellationToken);
        fleet.SetApps(counts.Select(count => (count.NodeId, count.AppId, count.Machines)));
        fleet.KeepOnly(nodes);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await ReadAsync(stoppingToken);
            }
            catch (Exception) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // The spread is as it was counted; the next reading puts it right.
                log.Log(e is ProblemException ? LogLevel.Debug : LogLevel.Warning, e, "Machines of apps could not be counted");
            }
            await Task.Delay(Interval, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
