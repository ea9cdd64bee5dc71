using System.Text.Json.Serialization;

namespace Ravel.Contracts.Link;

/// <summary>A control message from the agent to a guest. Unknown members are ignored; unknown types end the session.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "type")]
[JsonDerivedType(typeof(HostHello), "hello")]
[JsonDerivedType(typeof(Configure), "configure")]
[JsonDerivedType(typeof(SignalWorkload), "signal")]
[JsonDerivedType(typeof(StopWorkload), "stop")]
[JsonDerivedType(typeof(StartExec), "exec")]
[JsonDerivedType(typeof(SignalExec), "exec_signal")]
[JsonDerivedType(typeof(ResizeTerminal), "resize")]
[JsonDerivedType(typeof(PowerOff), "power_off")]
public abstract record HostMessage;

/// <summary>First message of a session from the host.</summary>
/// <param name="MinVersion">Lowest protocol understood.</param>
/// <param name="Version">Highest protocol understood.</param>
/// <param name="StdoutOffset">Workload output below this is durable; the guest resends from here.</param>
/// <param name="StderrOffset">The same for stderr.</param>
public sealed record HostHello(int MinVersion, int Version, ulong StdoutOffset, ulong StderrOffset) : HostMessage
{
    /// <summary>
    /// For a guest that was stopped meanwhile, or restored: a seed for its kernel's random pool, base64 of at least 32 bytes. Taken in before
    /// the guest answers.
    /// </summary>
    public string? Entropy { get; init; }

    /// <summary>For the same guest: the host's time, in Unix nanoseconds; sets a clock that is off.</summary>
    public long? UnixNanoseconds { get; init; }
}

/// <summary>
/// Makes a waiting guest a machine. Answered by <see cref="WorkloadStarted"/> or <see cref="WorkloadFailed"/>; repeated to a
/// configured guest it is ignored.
/// </summary>
public sealed record Configure(GuestConfig Config) : HostMessage;

public sealed record SignalWorkload(int Signal) : HostMessage;

/// <summary>Ends the workload: <paramref name="Signal"/>, after <paramref name="TimeoutMilliseconds"/> SIGKILL. Leads to <see cref="WorkloadExited"/>.</summary>
public sealed record StopWorkload(int Signal, int TimeoutMilliseconds) : HostMessage;

public sealed record StartExec(uint Session, ProcessConfig Process, bool HasStdin) : HostMessage;

public sealed record SignalExec(uint Session, int Signal) : HostMessage;

/// <param name="Session">0 = the workload's terminal.</param>
/// <param name="Columns">Characters per line.</param>
/// <param name="Rows">Lines.</param>
public sealed record ResizeTerminal(uint Session, ushort Columns, ushort Rows) : HostMessage;

/// <summary>The exit is recorded and all output consumed: sync, unmount, power off.</summary>
public sealed record PowerOff : HostMessage;

/// <summary>A control message from a guest. The host treats every field as hostile.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "type")]
[JsonDerivedType(typeof(GuestHello), "hello")]
[JsonDerivedType(typeof(WorkloadStarted), "started")]
[JsonDerivedType(typeof(WorkloadFailed), "failed")]
[JsonDerivedType(typeof(WorkloadExited), "exited")]
[JsonDerivedType(typeof(ExecFailed), "exec_failed")]
[JsonDerivedType(typeof(ExecExited), "exec_exited")]
public abstract record GuestMessage;

/// <summary>First message of a session from the guest, after the host's.</summary>
/// <param name="MinVersion">Lowest protocol understood.</param>
/// <param name="Version">Highest protocol understood.</param>
/// <param name="InitVersion">Version of ravel-init.</param>
/// <param name="Phase">Where the guest stands. A guest that is <see cref="GuestPhase.Exited"/> repeats its <see cref="WorkloadExited"/> (or <see cref="WorkloadFailed"/>) right after.</param>
/// <param name="Kernel">Release of the guest's kernel.</param>
public sealed record GuestHello(int MinVersion, int Version, string InitVersion, GuestPhase Phase, string Kernel) : GuestMessage;

public sealed record WorkloadStarted(int Pid) : GuestMessage;

/// <summary>The workload could not be started; the guest waits for <see cref="PowerOff"/>.</summary>
/// <param name="ExitCode">As Docker reports it: 125 set-up failed, 126 not executable, 127 not found.</param>
/// <param name="Message">One line that names the file, user or mount.</param>
public sealed record WorkloadFailed(int ExitCode, string Message) : GuestMessage;

/// <summary>
/// The workload ended. All its output has been queued before; the guest keeps it and itself until <see cref="PowerOff"/>, so
/// that nothing is lost while no host is listening.
/// </summary>
public sealed record WorkloadExited(int ExitCode, int Signal, bool OomKilled) : GuestMessage;

public sealed record ExecFailed(uint Session, int ExitCode, string Message) : GuestMessage;

public sealed record ExecExited(uint Session, int ExitCode, int Signal) : GuestMessage;

[JsonConverter(typeof(JsonStringEnumConverter<GuestPhase>))]
public enum GuestPhase
{
    [JsonStringEnumMemberName("waiting")]
    Waiting,

    [JsonStringEnumMemberName("running")]
    Running,

    [JsonStringEnumMemberName("exited")]
    Exited,
}

/// <summary>What a guest is told to be.</summary>
public sealed record GuestConfig
{
    public required string Hostname { get; init; }

    public required RootConfig Root { get; init; }

    public required ProcessConfig Workload { get; init; }

    /// <summary>Volumes, mounted in this order over the root.</summary>
    public IReadOnlyList<VolumeConfig>? Volumes { get; init; }

    /// <summary>
    /// The host feeds the workload's standard input over stream 3, in every session from offset 0. Otherwise it is /dev/null
    /// (or a silent terminal).
    /// </summary>
    public bool HasStdin { get; init; }

    public NetworkConfig? Network { get; init; }

    /// <summary>Seed for the kernel's random pool, base64 of at least 32 bytes.</summary>
    public string? Entropy { get; init; }

    /// <summary>The host's time when the message was sent, in Unix nanoseconds; sets a clock that is off.</summary>
    public long? UnixNanoseconds { get; init; }
}

/// <summary>A read-only EROFS device overlaid with a writable ext4 one.</summary>
public sealed record RootConfig(string ReadOnlyDevice, string? WritableDevice);

/// <summary>An ext4 device at an absolute path, which is made if missing.</summary>
public sealed record VolumeConfig(string Device, string Path, bool ReadOnly);

/// <summary>A process in the guest, resolved against the image's configuration except for names only the guest knows.</summary>
public sealed record ProcessConfig
{
    /// <summary>Program and arguments; the program is looked up in PATH when it has no slash.</summary>
    public required IReadOnlyList<string> Arguments { get; init; }

    /// <summary>NAME=VALUE, in order; PATH, HOME, HOSTNAME and TERM get defaults as Docker gives them.</summary>
    public IReadOnlyList<string> Environment { get; init; } = [];

    /// <summary>As in an image: user, uid, user:group, uid:gid; empty = root.</summary>
    public string User { get; init; } = "";

    /// <summary>Made if missing; empty = "/".</summary>
    public string WorkingDirectory { get; init; } = "";

    public bool Tty { get; init; }

    public ushort Columns { get; init; } = 80;

    public ushort Rows { get; init; } = 24;
}

/// <summary>Addresses of eth0. Routed: the gateway is on-link, everything else goes through it.</summary>
public sealed record NetworkConfig
{
    /// <summary>MAC address to set (a restored guest still has the saved one).</summary>
    public required string Mac { get; init; }

    /// <summary>ADDRESS/PREFIX, normally /32 for IPv4 and /128 for IPv6.</summary>
    public required IReadOnlyList<string> Addresses { get; init; }

    /// <summary>One per family.</summary>
    public required IReadOnlyList<string> Gateways { get; init; }

    public int Mtu { get; init; } = 1500;

    public IReadOnlyList<string> Nameservers { get; init; } = [];

    public IReadOnlyList<string> SearchDomains { get; init; } = [];
}

/// <summary>Source-generated JSON of the link, snake_case.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(HostMessage))]
[JsonSerializable(typeof(GuestMessage))]
public sealed partial class LinkJson : JsonSerializerContext;
