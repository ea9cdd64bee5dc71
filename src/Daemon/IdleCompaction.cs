using Ravel.Linux.Processes;

namespace Ravel.Daemon;

/// <summary>
/// Gives memory back when nothing happens. The collector has no reason to run in a process that allocates nothing, so that
/// what starting up or a burst of work left behind would stay resident for as long as the daemon idles.
/// </summary>
internal sealed class IdleCompaction(TimeProvider time) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);

    /// <summary>Allocating less than this in an interval is idling.</summary>
    private const long IdleBytes = 1 << 20;

    /// <summary>Less garbage than this is not worth the pause of some milliseconds.</summary>
    private const long WorthwhileBytes = 8 << 20;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, time);
        var compacted = 0L;
        var last = 0L;
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            var allocated = GC.GetTotalAllocatedBytes();
            if (allocated - last < IdleBytes && allocated - compacted > WorthwhileBytes)
            {
                GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
                NativeHeap.Trim();
                // The bundle's assemblies are mapped twice: to be read, and where they run.
                FileMappings.Release(Environment.ProcessPath!);
                compacted = allocated;
            }
            last = allocated;
        }
    }
}
