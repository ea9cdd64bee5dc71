namespace Ravel.Vmm;

/// <summary>Everything a VMM needs to run one guest. Paths are absolute.</summary>
public sealed record VmSpec
{
    /// <summary>Unique on the host: letters, digits and '-', at most 64 (an instance id).</summary>
    public required string Id { get; init; }

    /// <summary>
    /// An existing directory of this VM's own for sockets and pid files, emptied by a reboot
    /// (below /run). Short: a Unix socket's path has at most 107 bytes (unix(7)).
    /// </summary>
    public required string RunDirectory { get; init; }

    /// <summary>Virtual CPUs, 1–32.</summary>
    public required int Cpus { get; init; }

    /// <summary>Guest memory in MiB, at least 64.</summary>
    public required int MemoryMib { get; init; }

    public required BootSource Boot { get; init; }

    /// <summary>
    /// Block devices in the guest's order: the first is <c>/dev/vda</c>, the second <c>/dev/vdb</c>, whatever
    /// order the VMM's bus has.
    /// </summary>
    public IReadOnlyList<Drive> Drives { get; init; } = [];

    /// <summary>Network interfaces in the guest's order: <c>eth0</c>, <c>eth1</c>.</summary>
    public IReadOnlyList<NetworkInterface> Networks { get; init; } = [];

    /// <summary>Name of the control group below Ravel's own that holds the VMM, e.g. <c>0/01J…</c>.</summary>
    public required string Cgroup { get; init; }

    public VmLimits Limits { get; init; } = new();

    /// <summary>
    /// User and group id that the VMM runs under, of no other VM on the host; null = the caller's own. A jailed VMM has one from its jail instead.
    /// </summary>
    public int? UserId { get; init; }

    /// <summary>Resume this snapshot instead of booting; drives, networks and size are those above.</summary>
    public VmSnapshot? Restore { get; init; }

    /// <summary>
    /// Begin as this template instead of booting, which spares the guest its boot: it waits for its configuration. One made for a VM of the
    /// same <see cref="IVmTemplates.KeyOfAsync"/>; not together with <see cref="Restore"/>.
    /// </summary>
    public VmTemplate? Template { get; init; }

    /// <summary>
    /// Leaves a restored VM paused: whoever journals its record first can be sure that the saved memory was not run twice on one disk.
    /// </summary>
    public bool IsPausedAfterRestore { get; init; }

    /// <summary>
    /// A memory balloon, empty at first: <see cref="IVmm.SetBalloonAsync"/> takes memory from the guest, which gets it back when it
    /// runs out. Needs the guest's virtio_balloon driver.
    /// </summary>
    public bool HasBalloon { get; init; }

    /// <summary>Keeps account of what the guest writes to its memory, for <see cref="IVmm.SnapshotChangesAsync"/>. Costs the guest some speed.</summary>
    public bool TracksMemory { get; init; }

    /// <summary>
    /// Path of the network namespace the VMM runs in, with the taps (<c>/run/netns/NAME</c>); null = the host's. Only a jailed VMM
    /// can be put into one.
    /// </summary>
    public string? NetworkNamespace { get; init; }
}

/// <summary>The guest kernel: bzImage or uncompressed ELF, an initramfs, and arguments (nothing secret).</summary>
public sealed record BootSource(string KernelPath, string InitramfsPath, string ExtraArguments = "");

/// <summary>A raw block device image. <paramref name="Id"/>: letters, digits, '_'.</summary>
public sealed record Drive(string Id, string Path, bool ReadOnly);

/// <summary>A tap that exists already. <paramref name="Id"/>: letters, digits, '_'; <paramref name="Mac"/> as aa:bb:cc:dd:ee:ff.</summary>
public sealed record NetworkInterface(string Id, string Tap, string Mac);

/// <summary>What a VM may take of its host besides memory, which is its own and what the VMM needs; can be changed while it runs.</summary>
public sealed record VmLimits
{
    public const int MaxCpuWeight = 10_000;

    /// <summary>CPU time when there is not enough for all, against other VMs: 1–10000.</summary>
    public int CpuWeight { get; init; } = 100;

    /// <summary>
    /// CPU time per wall time of the whole VM, the VMM's own threads included; at least 0.01. Null = its virtual CPUs, and what the VMM needs beside them.
    /// </summary>
    public double? Cpus { get; init; }

    /// <summary>For each drive, reads and writes together; null = none.</summary>
    public RateLimit? Disk { get; init; }

    /// <summary>
    /// For each interface, in each direction; null = none. For drivers that see to it (<see cref="IVmmDriver.LimitsNetwork"/>); the others leave it to
    /// whoever made the taps.
    /// </summary>
    public RateLimit? Network { get; init; }
}

/// <summary>How much a device may do each second; a second's worth may come at once. 0 = not limited.</summary>
public sealed record RateLimit(long BytesPerSecond = 0, long OperationsPerSecond = 0);

/// <summary>A saved VM: a directory written by <see cref="IVmm.SnapshotAsync"/>.</summary>
public sealed record VmSnapshot(string Directory, string Driver, string DriverVersion);

/// <summary>A guest that waits for its configuration: a directory written by <see cref="IVmTemplates.BuildAsync"/>.</summary>
public sealed record VmTemplate(string Directory);

/// <summary>
/// Identifies a VMM across restarts of Ravel: a pid alone may have been reused, a pid with its start time
/// (clock ticks since boot, field 22 of /proc/PID/stat, proc(5)) cannot.
/// </summary>
public sealed record VmmRecord(string Driver, string Id, string RunDirectory, int Pid, ulong StartTime, string Cgroup);

/// <summary>How a VMM ended.</summary>
/// <param name="Kind">What was seen.</param>
/// <param name="Detail">One line for people: exit status, signal, or the VMM's last words.</param>
public sealed record VmmExit(VmmExitKind Kind, string Detail);

public enum VmmExitKind
{
    /// <summary>The guest powered off or rebooted.</summary>
    GuestShutdown,

    /// <summary>The guest's kernel panicked.</summary>
    GuestPanic,

    /// <summary>Killed by <see cref="IVmm.KillAsync"/>.</summary>
    Killed,

    /// <summary>The process is gone and nothing says why.</summary>
    Lost,
}

/// <param name="CpuTime">Of the VMM and the guest, since it was launched.</param>
/// <param name="ResidentBytes">Memory of the VMM, the guest's included; what it shares with others counts too.</param>
public sealed record VmmMetrics(TimeSpan CpuTime, long ResidentBytes)
{
    /// <summary>What the VMM counted of its drives since it started; null where it counts nothing, or does not answer.</summary>
    public DiskUsage? Disk { get; init; }

    /// <summary>Null without a balloon, or before its guest said anything.</summary>
    public BalloonUsage? Balloon { get; init; }
}

/// <summary>What went through a VM's drives.</summary>
public sealed record DiskUsage(long ReadBytes, long WrittenBytes, long Reads, long Writes);

/// <summary>A balloon, as its guest reports it: not to be trusted.</summary>
/// <param name="TargetMib">What the host asked for.</param>
/// <param name="ActualMib">What the guest gave.</param>
/// <param name="AvailableBytes">Memory the guest could still use without swapping; null when it does not say.</param>
public sealed record BalloonUsage(int TargetMib, int ActualMib, long? AvailableBytes);

/// <summary>What a driver can do on this host.</summary>
/// <param name="Available">False when a launch is bound to fail; <paramref name="Problems"/> says why.</param>
/// <param name="Version">The VMM's own version, empty when unknown.</param>
/// <param name="Accelerator"><c>kvm</c>, <c>tcg</c> or <c>none</c>.</param>
/// <param name="Problems">What is missing or wrong, each with its remedy.</param>
public sealed record VmmProbe(bool Available, string Version, string Accelerator, IReadOnlyList<VmmProblem> Problems);

public sealed record VmmProblem(string Subject, string Message, string Remedy);

/// <summary>
/// The byte channel to a guest. <paramref name="IsLossy"/>: bytes of an earlier connection may still sit in it on
/// either side (a virtio-serial port), so that a new link session has to resynchronise; false for vsock.
/// </summary>
public sealed record GuestChannel(Stream Stream, bool IsLossy) : IAsyncDisposable
{
    public ValueTask DisposeAsync() => Stream.DisposeAsync();
}

/// <summary>A VMM that could not be launched, spoken to or controlled. The message names the VMM and carries its own words.</summary>
public class VmmException : Exception
{
    public VmmException(string message)
        : base(message)
    {
    }

    public VmmException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

/// <summary>A VMM that answers to its record but holds another VM than the one launched: it is not adopted.</summary>
public sealed class VmmMismatchException : VmmException
{
    public VmmMismatchException(string message)
        : base(message)
    {
    }
}

/// <summary>
/// Saved memory that this VMM does not take and will not take the next time either: another version's, or damaged. A launch that fails for
/// any other reason is a plain <see cref="VmmException"/>, and leaves the memory of use.
/// </summary>
public sealed class VmRestoreException : VmmException
{
    public VmRestoreException(string message)
        : base(message)
    {
    }

    public VmRestoreException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
