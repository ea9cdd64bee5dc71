using Ravel.Durable;

namespace Ravel.Agent.Instances;

/// <summary>Time limits of an instance's life.</summary>
public sealed record InstanceOptions
{
    /// <summary>From the VMM's start until the workload runs; a guest that takes longer is given up.</summary>
    public TimeSpan BootTimeout { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>Added to a stop's own time limit before the VMM is killed: the guest sends SIGKILL itself at its limit.</summary>
    public TimeSpan StopGrace { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>From the recorded exit until the guest has synced, unmounted and powered off.</summary>
    public TimeSpan PowerOffTimeout { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>From the stop of a guest's CPUs until its memory is on the disk; one that takes longer runs on.</summary>
    public TimeSpan SaveTimeout { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>Used when a machine does not say how long its workload may take to end.</summary>
    public TimeSpan DefaultStopTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Time between instances that ended soon, for machines with a restart policy.</summary>
    public BackoffPolicy RestartBackoff { get; init; } = new(TimeSpan.FromSeconds(0.5), 2, TimeSpan.FromMinutes(1));

    /// <summary>An instance that ran this long ended well enough: the back-off begins anew.</summary>
    public TimeSpan LongLife { get; init; } = TimeSpan.FromSeconds(30);
}
