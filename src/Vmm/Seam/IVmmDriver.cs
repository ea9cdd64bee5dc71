namespace Ravel.Vmm;

/// <summary>
/// A hypervisor Ravel can run instances on. Implemented by QEMU microvm, Firecracker and a scriptable
/// fake; all pass the same conformance suite. VMM processes are children of nobody: they outlive the
/// process that launched them and are found again through their <see cref="VmmRecord"/>.
/// </summary>
public interface IVmmDriver
{
    /// <summary>Stable name: <c>qemu</c>, <c>firecracker</c> or <c>fake</c>.</summary>
    string Name { get; }

    /// <summary>Whether the VMM itself keeps to <see cref="VmLimits.Network"/>.</summary>
    bool LimitsNetwork => false;

    /// <summary>What the driver can do on this host, and what is missing; never throws for a missing binary.</summary>
    Task<VmmProbe> ProbeAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Starts a VMM and boots the guest. Returns when the VMM runs the guest's kernel; what the guest does is
    /// reported over <see cref="IVmm.ConnectGuestAsync"/>. On failure nothing is left behind.
    /// </summary>
    /// <exception cref="VmmException">The VMM refused or died; the message carries its own words.</exception>
    /// <exception cref="VmRestoreException">The memory to restore is of no use to this VMM, now and later.</exception>
    Task<IVmm> LaunchAsync(VmSpec spec, CancellationToken cancellationToken);

    /// <summary>
    /// Finds a VMM launched earlier, by this process or a previous one. Null when it is gone (also when its pid
    /// now belongs to another process).
    /// </summary>
    /// <exception cref="VmmMismatchException">It holds another VM than the one launched.</exception>
    Task<IVmm?> RecoverAsync(VmmRecord record, CancellationToken cancellationToken);

    /// <summary>
    /// Removes everything a launch of this id may have made, in whatever state it was left: processes (killed),
    /// cgroups, jails, sockets. Idempotent; does not touch the drives.
    /// </summary>
    Task PurgeAsync(string id, string runDirectory, CancellationToken cancellationToken);
}

/// <summary>A running VMM. Disposing lets go of the handle; the VMM runs on.</summary>
public interface IVmm : IAsyncDisposable
{
    /// <summary>What has to be journaled to find this VMM again.</summary>
    VmmRecord Record { get; }

    /// <summary>
    /// Completes when the VMM process is gone or the guest has shut down. The status says how the VMM ended,
    /// never whether the workload succeeded: only the guest knows that.
    /// </summary>
    Task<VmmExit> Exited { get; }

    /// <summary>
    /// Opens the duplex byte channel to the guest. One connection at a time; may be opened again after it
    /// breaks. Waits, until cancelled, for a guest that is not listening yet.
    /// </summary>
    Task<GuestChannel> ConnectGuestAsync(CancellationToken cancellationToken);

    /// <summary>Stops the virtual CPUs. Idempotent.</summary>
    Task PauseAsync(CancellationToken cancellationToken);

    /// <summary>Lets the virtual CPUs go on. Idempotent.</summary>
    Task ResumeAsync(CancellationToken cancellationToken);

    /// <summary>Saves memory and devices of a paused VM into a new directory, readable by <see cref="VmSpec.Restore"/>.</summary>
    Task<VmSnapshot> SnapshotAsync(string directory, CancellationToken cancellationToken);

    /// <summary>
    /// As <see cref="SnapshotAsync"/>, writing no more memory than changed since <paramref name="since"/>, the last snapshot of this VM or the one
    /// it was restored from. The result needs no other snapshot. Where changes are not known, everything is written.
    /// </summary>
    Task<VmSnapshot> SnapshotChangesAsync(string directory, VmSnapshot since, CancellationToken cancellationToken) =>
        SnapshotAsync(directory, cancellationToken);

    /// <summary>Asks the guest for memory: the balloon's target, from 0 to below the guest's memory.</summary>
    /// <exception cref="VmmException">It has no balloon (<see cref="VmSpec.HasBalloon"/>), or the target is out of range.</exception>
    Task SetBalloonAsync(int mib, CancellationToken cancellationToken) => throw new VmmException($"VM {Record.Id} has no balloon");

    /// <summary>Changes what the VM may take, from now on. Idempotent.</summary>
    /// <exception cref="VmmException">It has ended, or the host refuses.</exception>
    Task SetLimitsAsync(VmLimits limits, CancellationToken cancellationToken);

    Task<VmmMetrics> GetMetricsAsync(CancellationToken cancellationToken);

    /// <summary>The last bytes of the guest's serial console (bounded by the driver, at most 64 KiB).</summary>
    Task<string> ReadConsoleAsync(CancellationToken cancellationToken);

    /// <summary>Ends the VMM at once (SIGKILL). Idempotent; completes when the process is gone.</summary>
    Task KillAsync(CancellationToken cancellationToken);
}
