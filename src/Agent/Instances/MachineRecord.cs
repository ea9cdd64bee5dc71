using Ravel.Agent.Capacity;
using Ravel.Agent.Networking;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable.Workflows;
using Ravel.Vmm;
using Ravel.Vmm.Kernels;

namespace Ravel.Agent.Instances;

/// <summary>Where an instance stands. The names are stored; see <see cref="InstanceStates"/> for the diagram.</summary>
internal enum InstanceState
{
    Starting,
    Booting,
    Running,
    Suspending,
    Suspended,
    Stopping,
    PoweringOff,
    Releasing,
    Waiting,
    Ended,
    Destroying,
}

/// <summary>All the agent knows of one machine: what it shall be and its current or last instance. Immutable; one journal row each.</summary>
internal sealed record MachineRecord
{
    public required MachineId Id { get; init; }

    /// <summary>The newest generation accepted; <see cref="Desired"/>, <see cref="Spec"/> and <see cref="Force"/> are its.</summary>
    public required ulong Generation { get; init; }

    public required DesiredState Desired { get; init; }

    /// <summary>Never changed in place: protocol buffers are mutable, this one is treated as if it were not.</summary>
    public required MachineSpec Spec { get; init; }

    public bool Force { get; init; }

    /// <summary>Destroyed is desired because the machine went to another node.</summary>
    public bool IsMoved { get; init; }

    /// <summary>The newest generation acted upon.</summary>
    public ulong ObservedGeneration { get; init; }

    /// <summary>Unique on the node over the machine's life, ≥ 1.</summary>
    public required int AddressIndex { get; init; }

    /// <summary>One per namespace on the node, ≥ 1.</summary>
    public required int NetworkIndex { get; init; }

    /// <summary>The writable disk: kept from instance to instance while they run the same image, removed with the machine.</summary>
    public DiskRecord? Disk { get; init; }

    /// <summary>Restarts by policy since the last generation.</summary>
    public uint Restarts { get; init; }

    /// <summary>Instances in a row that ended soon; sets the back-off.</summary>
    public int ShortLives { get; init; }

    public required DateTimeOffset ChangedAt { get; init; }

    /// <summary>The current instance, or the last one; null before the first.</summary>
    public InstanceRecord? Instance { get; init; }

    /// <summary>What saved memory takes beside the guest's own: devices, and the VMM's tables.</summary>
    public const long SavedDevicesMib = 16;

    public InstanceState? State => Instance?.State;

    /// <summary>Whether a server may start it elsewhere while this node is away.</summary>
    public bool MayMove => Spec is { Stays: false, Mounts.Count: 0 };

    /// <summary>The image whose root file system it has, also at rest: its disk fits no other.</summary>
    public string? ImageDigest => Instance is { State: not (InstanceState.Ended or InstanceState.Destroying), Facts.ImageDigest: { } running }
        ? running
        : Disk?.ImageDigest;

    /// <summary>What this machine takes from the node in its present state.</summary>
    /// <param name="besidesMib">What every machine takes of the disk beside its own one (<see cref="AgentOptions.BesidesDiskMib"/>).</param>
    public NodeShare Held(long besidesMib)
    {
        var share = new NodeShare(0, 0, (long)Math.Max(Spec.DiskMib, (ulong)(Disk?.Mib ?? 0)) + besidesMib, 1);
        // Its memory has room on the disk before it is written there.
        if (Instance is { State: InstanceState.Suspending } or { Facts.Memory: not null })
            share = share with { DiskMib = share.DiskMib + (long)Instance.Spec.MemoryMib + SavedDevicesMib };
        if (Instance is { State: not (InstanceState.Ended or InstanceState.Destroying or InstanceState.Suspended) } instance)
            share = share with { Cpus = (int)instance.Spec.Cpus, MemoryMib = (long)instance.Spec.MemoryMib };
        // A replacement has its room before the instance it replaces is asked to go.
        if (Desired == DesiredState.Started && Instance is { State: not (InstanceState.Ended or InstanceState.Suspended) })
            share = share with { Cpus = Math.Max(share.Cpus, (int)Spec.Cpus), MemoryMib = Math.Max(share.MemoryMib, (long)Spec.MemoryMib) };
        return share;
    }
}

/// <param name="ImageDigest">The rootfs below it; an overlay's upper layer fits no other.</param>
/// <param name="Mib">Its size.</param>
internal sealed record DiskRecord(string ImageDigest, long Mib);

/// <summary>One incarnation.</summary>
internal sealed record InstanceRecord
{
    public required InstanceId Id { get; init; }

    public required InstanceState State { get; init; }

    /// <summary>The generation it was started for.</summary>
    public required ulong Generation { get; init; }

    /// <summary>What it was started as; the machine's spec may be newer.</summary>
    public required MachineSpec Spec { get; init; }

    /// <summary>Next step of the start workflow, while it does (Starting) or undoes (Releasing).</summary>
    public WorkflowPosition? Position { get; init; }

    public StartFacts Facts { get; init; } = new();

    /// <summary>When the workload was first seen running.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>When the present state has lasted too long, or (Waiting) long enough.</summary>
    public DateTimeOffset? Deadline { get; init; }

    /// <summary>Asked to end: the restart policy has no say.</summary>
    public bool IsStopRequested { get; init; }

    /// <summary>Ended because the node went down: starts again when the node comes up.</summary>
    public bool IsInterrupted { get; init; }

    public InstanceExit? Exit { get; init; }

    public InstanceProblem? Problem { get; init; }
}

/// <summary>What the steps of a start found out.</summary>
internal sealed record StartFacts
{
    public string? ImageDigest { get; init; }

    /// <summary>What it runs, by the image and the overrides, for those who list machines: no longer than a line.</summary>
    public IReadOnlyList<string>? Command { get; init; }

    public DiskRecord? Disk { get; init; }

    public InstanceNetwork? Network { get; init; }

    public VmmRecord? Vmm { get; init; }

    /// <summary>The saved memory that this instance goes on from at its next start; null from when a VMM that holds it is recorded.</summary>
    public VmSnapshot? Memory { get; init; }

    /// <summary>The VMM holds restored memory, and may not have been told to go on yet.</summary>
    public bool IsRestored { get; init; }

    /// <summary>What it booted.</summary>
    public BootedKernel? Kernel { get; init; }
}

/// <param name="Digest">Of the kernel.</param>
/// <param name="KernelPath">Its file.</param>
/// <param name="InitramfsPath">What was booted with it.</param>
internal sealed record BootedKernel(string Digest, string KernelPath, string InitramfsPath)
{
    public static BootedKernel Of(PreparedKernel kernel) => new(kernel.Digest, kernel.Boot.KernelPath, kernel.Boot.InitramfsPath);
}

/// <param name="Code">128+N for signal N.</param>
/// <param name="Signal">0 = none.</param>
/// <param name="IsOomKilled">The guest's kernel killed it for want of memory.</param>
/// <param name="At">When the agent learned of it.</param>
/// <param name="IsRequested">It followed a stop.</param>
internal sealed record InstanceExit(int Code, int Signal, bool IsOomKilled, DateTimeOffset At, bool IsRequested)
{
    public const int KilledCode = 128 + 9;

    public static InstanceExit Killed(DateTimeOffset at) => new(KilledCode, 9, false, at, true);
}

/// <param name="Code">One of the API's problem codes.</param>
/// <param name="Message">One line for people.</param>
internal sealed record InstanceProblem(string Code, string Message);
