namespace Ravel.Linux.Processes;

/// <summary>
/// A process that cannot be mistaken for another: a pid is reused, a pid with its start time is not (proc(5)).
/// </summary>
/// <param name="Pid">Process id in the host's pid namespace.</param>
/// <param name="StartTime">Clock ticks after boot, field 22 of /proc/PID/stat.</param>
public readonly record struct ProcessIdentity(int Pid, ulong StartTime)
{
    /// <summary>This process.</summary>
    public static ProcessIdentity Current { get; } = Read(Environment.ProcessId)
        ?? throw new InvalidOperationException("/proc does not show this process; is it mounted?");

    /// <summary>Who has this pid now; null when nobody has, or only a zombie that waits to be reaped.</summary>
    public static ProcessIdentity? Read(int pid) =>
        ProcessStat.Read(pid) is { IsRunning: true } stat ? new ProcessIdentity(pid, stat.StartTime) : null;

    /// <summary>True while this very process runs.</summary>
    public bool IsRunning => Read(Pid) == this;
}
