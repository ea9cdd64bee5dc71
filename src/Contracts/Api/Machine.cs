using System.Text.Json;
using System.Text.Json.Serialization;
using Ravel.Contracts.Ids;

namespace Ravel.Contracts.Api;

/// <summary>
/// A machine as the API shows it: the shape of the Fly Machines API (<c>/v1/apps/{app}/machines</c>), so that its clients
/// work by changing a base URL. Times are RFC 3339.
/// </summary>
public sealed record Machine
{
    public required MachineId Id { get; init; }
    public required string Name { get; init; }

    /// <summary>One of <see cref="MachineStates"/>.</summary>
    public required string State { get; init; }

    /// <summary>Ravel's addition: the app it belongs to.</summary>
    public required string App { get; init; }

    /// <summary>Ravel's addition: where it runs, or last ran.</summary>
    public string? NodeId { get; init; }

    /// <summary>That of its node; <c>local</c> where the operator has named none.</summary>
    public string Region { get; init; } = "local";
    public ImageRef? ImageRef { get; init; }

    /// <summary>The current or last incarnation; null before the first.</summary>
    public string? InstanceId { get; init; }

    /// <summary>IPv6 inside the tenant's network.</summary>
    public string? PrivateIp { get; init; }

    /// <summary>Ravel's addition: IPv4, meaningful on its node only.</summary>
    public string? NodeIpv4 { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }
    public required DateTimeOffset UpdatedAt { get; init; }
    public required MachineConfig Config { get; init; }
    public IReadOnlyList<MachineEvent> Events { get; init; } = [];

    /// <summary>Ravel's addition: grows with every change of configuration or desired state.</summary>
    public required long Generation { get; init; }

    /// <summary>Of the lease that <c>lease_ttl</c> asked for when it was made; shown this once.</summary>
    public string? Nonce { get; init; }

    /// <summary>Ravel's addition: when the workload of the last instance was seen running.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>
    /// Ravel's addition: what the last instance runs, by its image and the overrides of <c>Config.Init</c>; cut off where it is longer than a line.
    /// </summary>
    public IReadOnlyList<string>? Command { get; init; }

    /// <summary>Ravel's addition: how the last instance ended.</summary>
    public MachineExit? Exit { get; init; }

    /// <summary>Ravel's addition: why the machine is <c>failed</c>.</summary>
    public MachineProblem? Problem { get; init; }
}

/// <summary>States a machine can be seen in.</summary>
public static class MachineStates
{
    public const string Created = "created";
    public const string Starting = "starting";
    public const string Started = "started";
    public const string Suspending = "suspending";
    public const string Suspended = "suspended";
    public const string Stopping = "stopping";
    public const string Stopped = "stopped";
    public const string Failed = "failed";
    public const string Destroying = "destroying";
    public const string Destroyed = "destroyed";
}

public sealed record ImageRef
{
    public required string Registry { get; init; }
    public required string Repository { get; init; }
    public string? Tag { get; init; }
    public string? Digest { get; init; }
}

/// <summary>How an instance ended. <c>ExitCode</c> is 128+N for signal N, as a shell reports it.</summary>
public sealed record MachineExit(int ExitCode, int? Signal, bool OomKilled, bool RequestedStop, DateTimeOffset ExitedAt);

public sealed record MachineProblem(string Code, string Message);

/// <summary>Something that happened to a machine. <c>Timestamp</c>: Unix milliseconds.</summary>
public sealed record MachineEvent
{
    public required string Id { get; init; }

    /// <summary>Ravel's addition.</summary>
    public MachineId? MachineId { get; init; }

    /// <summary>launch, start, exit, stop, fail, restart, suspend, resume, destroy, update, …: new ones may come.</summary>
    public required string Type { get; init; }

    /// <summary>The machine's state after it.</summary>
    public required string Status { get; init; }

    /// <summary>user or ravel.</summary>
    public required string Source { get; init; }
    public required long Timestamp { get; init; }
    public string? InstanceId { get; init; }
    public MachineExit? Exit { get; init; }
    public MachineProblem? Problem { get; init; }
}

/// <summary>What a user says a machine shall be.</summary>
public sealed record MachineConfig
{
    /// <summary>An image reference as Docker writes them, or the name of an imported image.</summary>
    public required string Image { get; init; }
    public GuestSize? Guest { get; init; }
    public IReadOnlyDictionary<string, string>? Env { get; init; }
    public InitConfig? Init { get; init; }
    public RestartConfig? Restart { get; init; }
    public bool AutoDestroy { get; init; }
    public StopConfig? StopConfig { get; init; }
    public IReadOnlyDictionary<string, string>? Metadata { get; init; }

    /// <summary>Volumes of its app, at most 8.</summary>
    public IReadOnlyList<MountConfig>? Mounts { get; init; }

    /// <summary>Ravel's addition: ports of the host that lead to the machine.</summary>
    public IReadOnlyList<PortConfig>? PublishedPorts { get; init; }

    /// <summary>Ravel's addition: <c>missing</c> (default), <c>always</c> or <c>never</c>.</summary>
    public string? PullPolicy { get; init; }

    /// <summary>Ravel's addition: which nodes will do. Counts when the machine is placed; one that has a node stays there.</summary>
    public PlacementConfig? Placement { get; init; }

    /// <summary>
    /// Ravel's addition: what happens when its node is lost. <c>reschedule</c>, the default without mounts, starts it elsewhere, with a new
    /// writable disk; while the network is cut, both may run. <c>stay</c>, the default with mounts, waits for the node.
    /// </summary>
    public string? OnNodeLoss { get; init; }

    /// <summary>
    /// What else a client sent. The server refuses members that would change what runs (<c>services</c>, <c>checks</c>, …) and
    /// drops the others.
    /// </summary>
    [JsonExtensionData]
    public IDictionary<string, JsonElement>? Unsupported { get; set; }
}

/// <summary>Defaults: 1 CPU, 256 MiB, a writable disk of the node's default size.</summary>
public sealed record GuestSize
{
    /// <summary>Virtual CPUs, 1–32.</summary>
    public int? Cpus { get; init; }

    /// <summary>MiB, 64–1048576. A start is refused with less than its kernel needs to boot: some 80 for the stock kernel.</summary>
    public int? MemoryMb { get; init; }
    public string? CpuKind { get; init; }

    /// <summary>Ravel's addition: size of the writable disk in MiB.</summary>
    public int? DiskMb { get; init; }

    /// <summary>
    /// Ravel's addition: CPU time when there is not enough for all, against other machines: 1–10000, default 100 for each CPU. A machine with
    /// twice the weight gets twice the time.
    /// </summary>
    public int? CpuWeight { get; init; }

    /// <summary>
    /// Ravel's addition: ceiling of the CPU time of the whole VM, in CPUs: 0.01 to <c>Cpus</c>, in steps of 0.001. Absent, its CPUs and what the
    /// VMM needs beside them.
    /// </summary>
    public double? CpuLimit { get; init; }

    /// <summary>Ravel's addition: bytes a second of each disk, reads and writes together: 16384–4000000000; absent = not limited.</summary>
    public long? DiskBps { get; init; }

    /// <summary>Ravel's addition: operations a second of each disk: 10–10000000; absent = not limited.</summary>
    public int? DiskIops { get; init; }

    /// <summary>Ravel's addition: bytes a second of the network, in each direction: 16384–4000000000; absent = not limited.</summary>
    public long? NetBps { get; init; }

    /// <summary>
    /// Ravel's addition: the kernel, by name or digest; absent, the node's default at each start. Shown as <c>NAME@DIGEST</c>: the
    /// digest is kept, so that the machine boots the same kernel again.
    /// </summary>
    public string? Kernel { get; init; }
}

/// <summary>Where a machine may run. Absent: anywhere, spread over zones and nodes.</summary>
public sealed record PlacementConfig
{
    /// <summary>Regions, best first, at most 16; no other will do. A request's <c>region</c> is written here.</summary>
    public IReadOnlyList<string>? Regions { get; init; }

    /// <summary>Conditions on a node's labels, at most 16, all of which must hold: <c>disk=ssd</c>, <c>disk!=hdd</c>, <c>disk in (ssd, nvme)</c>, <c>gpu</c>.</summary>
    public IReadOnlyList<string>? Constraints { get; init; }

    /// <summary>As in OCI: <c>amd64</c> or <c>arm64</c>.</summary>
    public string? Architecture { get; init; }

    /// <summary>What the node's hypervisor must be or have, at most 16: <c>firecracker</c>, <c>qemu</c>, <c>kvm</c>, ….</summary>
    public IReadOnlyList<string>? Features { get; init; }

    /// <summary><c>spread</c> (default): over zones, then over nodes. <c>pack</c>: on nodes in use, the fullest first.</summary>
    public string? Strategy { get; init; }
}

/// <summary>Overrides of the image's process. <c>Exec</c> replaces entrypoint and command.</summary>
public sealed record InitConfig
{
    public IReadOnlyList<string>? Exec { get; init; }
    public IReadOnlyList<string>? Entrypoint { get; init; }
    public IReadOnlyList<string>? Cmd { get; init; }
    public bool? Tty { get; init; }

    /// <summary>Ravel's addition: standard input is fed over the attach WebSocket; without it, it is empty.</summary>
    public bool? Stdin { get; init; }

    /// <summary>Ravel's addition.</summary>
    public string? User { get; init; }

    /// <summary>Ravel's addition.</summary>
    public string? WorkingDir { get; init; }
}

/// <summary><c>Policy</c>: <c>no</c> (default), <c>on-failure</c> or <c>always</c>.</summary>
public sealed record RestartConfig
{
    public string? Policy { get; init; }
    public int? MaxRetries { get; init; }
}

/// <summary><c>Signal</c>: a name (<c>SIGTERM</c>) or number. <c>Timeout</c>: seconds until SIGKILL, 0–3600, default 10.</summary>
public sealed record StopConfig
{
    public string? Signal { get; init; }
    public int? Timeout { get; init; }
}

/// <summary>A volume at a path of the guest. One of <c>Volume</c> (its id or name) and <c>Name</c> (its name) says which.</summary>
public sealed record MountConfig
{
    public string? Volume { get; init; }
    public string? Name { get; init; }
    public required string Path { get; init; }

    /// <summary>Ravel's addition.</summary>
    public bool? ReadOnly { get; init; }
}

/// <summary>Ports are 1–65535; <c>HostAddress</c> is an IPv4 address of the host, absent for all of them.</summary>
public sealed record PortConfig
{
    public string? Protocol { get; init; }
    public string? HostAddress { get; init; }
    public required int HostPort { get; init; }
    public required int GuestPort { get; init; }
}
