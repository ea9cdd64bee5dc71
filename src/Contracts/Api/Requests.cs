using System.Text.Json;
using System.Text.Json.Serialization;

namespace Ravel.Contracts.Api;

public sealed record CreateAppRequest
{
    /// <summary>Lower-case letters, digits and '-', at most 63. Fly's clients send <c>app_name</c>.</summary>
    public required string AppName { get; init; }
}

public sealed record App
{
    public required string Name { get; init; }
    public required string Namespace { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public int MachineCount { get; init; }
}

public sealed record AppList(int TotalApps, IReadOnlyList<App> Apps);

public sealed record CreateMachineRequest
{
    /// <summary>Unique in its app: lower-case letters, digits and '-', at most 63. Made up if absent.</summary>
    public string? Name { get; init; }

    /// <summary>The machine runs in this region and in no other; the same as <c>config.placement.regions</c> with one.</summary>
    public string? Region { get; init; }
    public required MachineConfig Config { get; init; }

    /// <summary>Create without starting.</summary>
    public bool SkipLaunch { get; init; }

    /// <summary>Seconds: take a lease on the new machine, whose nonce is in the answer.</summary>
    public int? LeaseTtl { get; init; }
}

/// <summary>Several machines of one configuration, which are placed as one request: all of them, or none.</summary>
public sealed record CreateMachinesRequest
{
    /// <summary>1 to 1,000.</summary>
    public required int Count { get; init; }

    /// <summary>They are called NAME-1, NAME-2, …; made up if absent.</summary>
    public string? Name { get; init; }
    public string? Region { get; init; }

    /// <summary>Without volumes: one can be in one machine only.</summary>
    public required MachineConfig Config { get; init; }

    /// <summary>Create without starting.</summary>
    public bool SkipLaunch { get; init; }
}

public sealed record StopMachineRequest
{
    public string? Signal { get; init; }

    /// <summary>Seconds, as a number or text; Fly's clients also send a Go duration ("10s").</summary>
    [JsonConverter(typeof(NumberOrTextConverter))]
    public string? Timeout { get; init; }
}

/// <summary>Takes a JSON number where text is expected: clients send seconds both ways.</summary>
public sealed class NumberOrTextConverter : JsonConverter<string>
{
    public override string? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.Number
            ? reader.GetDouble().ToString(System.Globalization.CultureInfo.InvariantCulture)
            : reader.GetString();

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);
}

/// <summary>Asks for, or prolongs, the sole right to change a machine.</summary>
public sealed record LeaseRequest
{
    /// <summary>Seconds, 1–86400, default 30.</summary>
    public int? Ttl { get; init; }
    public string? Description { get; init; }
}

/// <summary>As the Fly Machines API wraps it.</summary>
public sealed record LeaseResponse(string Status, MachineLease Data);

/// <param name="Nonce">What the holder sends as <c>fly-machine-lease-nonce</c>; only shown to the holder.</param>
/// <param name="ExpiresAt">Unix seconds.</param>
/// <param name="Owner">Id of the token that took it.</param>
/// <param name="Description">What the holder said.</param>
public sealed record MachineLease(string? Nonce, long ExpiresAt, string Owner, string? Description);

public sealed record SignalRequest
{
    public required string Signal { get; init; }
}

/// <summary>The answer of a call that asks for something and returns nothing; <c>PreviousState</c> as Fly's <c>start</c> tells it.</summary>
public sealed record Acknowledgement(bool Ok, string? PreviousState = null);

/// <summary>The new value of one key of a machine's metadata.</summary>
public sealed record MetadataValue
{
    public required string Value { get; init; }
}

/// <summary>Runs a command and returns when it ends. The interactive form is a WebSocket on the same path.</summary>
public sealed record ExecRequest
{
    public IReadOnlyList<string>? Command { get; init; }

    /// <summary>A command line, split on blanks, when <see cref="Command"/> is absent.</summary>
    public string? Cmd { get; init; }
    public string? Stdin { get; init; }

    /// <summary>Seconds; 0 = none, default 60.</summary>
    public int? Timeout { get; init; }

    /// <summary>Ravel's additions from here on.</summary>
    public IReadOnlyDictionary<string, string>? Env { get; init; }
    public string? User { get; init; }
    public string? WorkingDir { get; init; }
    public bool Tty { get; init; }
    public int? Columns { get; init; }
    public int? Rows { get; init; }

    /// <summary>WebSocket only: the client will send standard input.</summary>
    public bool AttachStdin { get; init; }
}

public sealed record ExecResponse(string Stdout, string Stderr, int ExitCode, int? ExitSignal);

/// <summary>
/// Text messages of an exec WebSocket. Client: first an <see cref="ExecRequest"/>, later <see cref="Signal"/>,
/// resize or <see cref="StdinClosed"/>. Server: last an exit or a problem. Binary messages are one channel byte (0 stdin, 1
/// stdout, 2 stderr) and data.
/// </summary>
public sealed record ExecControl
{
    public string? Signal { get; init; }
    public int? Columns { get; init; }
    public int? Rows { get; init; }
    public bool StdinClosed { get; init; }
    public int? ExitCode { get; init; }
    public int? ExitSignal { get; init; }
    public Problem? Problem { get; init; }
}

/// <summary>One line of a log stream (<c>application/x-ndjson</c>). Bytes that are not UTF-8 come as U+FFFD unless <c>DataBase64</c> is asked for.</summary>
public sealed record LogLine
{
    /// <summary>RFC 3339 with nanoseconds.</summary>
    public required string Timestamp { get; init; }

    /// <summary>stdout, stderr or system.</summary>
    public required string Stream { get; init; }

    /// <summary>The bytes as UTF-8 text, with the newline if there was one.</summary>
    public string? Message { get; init; }

    /// <summary>The bytes when they are not valid UTF-8.</summary>
    public byte[]? Data { get; init; }
    public required string InstanceId { get; init; }
}

public sealed record Image
{
    public required string Digest { get; init; }
    public required IReadOnlyList<string> References { get; init; }

    /// <summary>Bytes of the rootfs.</summary>
    public required long Size { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When a pull or a start last asked for it.</summary>
    public DateTimeOffset? LastUsedAt { get; init; }

    /// <summary>Ids of the machines that have it for their root file system, also of those at rest.</summary>
    public IReadOnlyList<string> Machines { get; init; } = [];

    /// <summary>Came from a file; such an image goes only when asked to.</summary>
    public bool Imported { get; init; }

    /// <summary>Its rootfs is not what was built; the next pull replaces it.</summary>
    public bool Damaged { get; init; }
}

/// <summary>All there is to know of an image.</summary>
public sealed record ImageDetails
{
    public required Image Image { get; init; }

    /// <summary>sha256:HEX of the rootfs file.</summary>
    public required string RootfsDigest { get; init; }

    /// <summary>What it was built from, base first.</summary>
    public required IReadOnlyList<ImageLayer> Layers { get; init; }
    public required ImageRunConfig Config { get; init; }
}

/// <summary><c>Size</c>: bytes as they are stored in the registry or archive.</summary>
public sealed record ImageLayer(string Digest, long Size);

/// <summary>How an image says it is to be run (OCI image specification, config.md).</summary>
public sealed record ImageRunConfig
{
    public string Architecture { get; init; } = "";
    public IReadOnlyList<string> Entrypoint { get; init; } = [];
    public IReadOnlyList<string> Cmd { get; init; } = [];

    /// <summary>NAME=VALUE.</summary>
    public IReadOnlyList<string> Env { get; init; } = [];
    public string User { get; init; } = "";
    public string WorkingDir { get; init; } = "";
    public string StopSignal { get; init; } = "";
    public IReadOnlyList<string> ExposedPorts { get; init; } = [];
    public IReadOnlyList<string> Volumes { get; init; } = [];
    public IReadOnlyDictionary<string, string> Labels { get; init; } = new Dictionary<string, string>();
}

/// <summary><c>All</c>: also images with a name. <c>DryRun</c>: only say which.</summary>
public sealed record PruneImagesRequest
{
    public bool All { get; init; }
    public bool DryRun { get; init; }
}

public sealed record PrunedImages(IReadOnlyList<Image> Removed, long FreedBytes);

/// <summary><c>Reference</c>: an image by reference, digest or unique prefix; all when absent.</summary>
public sealed record VerifyImagesRequest
{
    public string? Reference { get; init; }
}

/// <summary>One line of a verification (<c>application/x-ndjson</c>): an image, damaged or not, or the problem that ended it.</summary>
public sealed record VerifiedImage
{
    public Image? Image { get; init; }

    /// <summary>What is wrong; absent when the image is as it was built.</summary>
    public string? Damage { get; init; }
    public Problem? Problem { get; init; }
}

public sealed record ImageList(IReadOnlyList<Image> Images);

public sealed record PullImageRequest
{
    public required string Reference { get; init; }
    public string? PullPolicy { get; init; }
}

/// <summary>One line of a pull's progress (<c>application/x-ndjson</c>); the last has <see cref="Image"/> or <see cref="Problem"/>.</summary>
public sealed record PullProgress
{
    public string? Phase { get; init; }
    public string? Layer { get; init; }
    public long? Received { get; init; }
    public long? Total { get; init; }

    /// <summary>How fast the layer comes at present.</summary>
    public long? BytesPerSecond { get; init; }

    /// <summary>Who gives the image: its registry or a mirror of it.</summary>
    public string? Registry { get; init; }
    public Image? Image { get; init; }
    public Problem? Problem { get; init; }
}

public sealed record RemovedImages(IReadOnlyList<string> Removed);

/// <summary>A kernel that machines can boot.</summary>
public sealed record Kernel
{
    /// <summary><c>sha256:…</c> of the kernel's file; with modules, of the list of its files and their digests.</summary>
    public required string Digest { get; init; }
    public required string Name { get; init; }

    /// <summary>What it calls itself, e.g. <c>6.1.0-56-cloud-amd64</c>.</summary>
    public required string Release { get; init; }

    /// <summary><c>bzimage</c> or <c>elf</c>.</summary>
    public required string Format { get; init; }

    /// <summary>Bytes of kernel and modules.</summary>
    public required long Size { get; init; }

    /// <summary>Modules that a guest loads with it; 0 when everything is built in.</summary>
    public required int Modules { get; init; }

    /// <summary><c>host</c>, <c>added</c> or <c>built</c>.</summary>
    public required string Origin { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public required bool Default { get; init; }

    /// <summary>Machines that name it, or run on it now.</summary>
    public required int Machines { get; init; }
}

public sealed record KernelList(IReadOnlyList<Kernel> Kernels);

/// <summary>One line of a build's progress (<c>application/x-ndjson</c>); the last has <see cref="Kernel"/> or <see cref="Problem"/>.</summary>
public sealed record KernelProgress
{
    /// <summary>wait, source, unpack, configure, compile or store.</summary>
    public string? Phase { get; init; }
    public int? Done { get; init; }

    /// <summary>About how many steps the phase has.</summary>
    public int? Total { get; init; }
    public Kernel? Kernel { get; init; }
    public Problem? Problem { get; init; }
}

public sealed record SetDefaultKernelRequest
{
    /// <summary>Name, digest, unique prefix of a digest, or <c>stock</c> for the host's own.</summary>
    public required string Kernel { get; init; }
}

public sealed record Namespace
{
    public required string Name { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
}

public sealed record NamespaceList(IReadOnlyList<Namespace> Namespaces);

public sealed record CreateNamespaceRequest
{
    public required string Name { get; init; }
}

public sealed record CreateTokenRequest
{
    public required string Name { get; init; }

    /// <summary>A token of the whole cluster instead of one namespace; only an administrator may ask for it.</summary>
    public bool Administrator { get; init; }
}

/// <summary>A token; <c>Secret</c> is shown once, when it is made.</summary>
public sealed record Token
{
    public required string Id { get; init; }
    public required string Name { get; init; }

    /// <summary>Null: the whole cluster.</summary>
    public string? Namespace { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public string? Secret { get; init; }
}

/// <param name="ExpiresInSeconds">1 to 604800; an hour when it is not said.</param>
/// <param name="Node">A node that shall join again although its key is lost; null: a new one.</param>
public sealed record CreateJoinTokenRequest(int? ExpiresInSeconds = null, string? Node = null);

/// <summary>With it one host can join the cluster, once.</summary>
public sealed record NodeJoinToken
{
    public required string Token { get; init; }
    public required DateTimeOffset ExpiresAt { get; init; }

    /// <summary>The server to join at, https://ADDRESS:PORT.</summary>
    public required string Server { get; init; }

    /// <summary>What to run on the new host.</summary>
    public required string Command { get; init; }
}

/// <summary>What a server says of itself, and its node; unauthenticated callers see the version only.</summary>
public sealed record ServerInfo
{
    public required string Version { get; init; }
    public NodeSummary? Node { get; init; }
}

public sealed record NodeSummary
{
    public required string Id { get; init; }
    public required string Vmm { get; init; }
    public required string VmmVersion { get; init; }
    public required string Accelerator { get; init; }
    public required string Architecture { get; init; }
    public required NodeResources Capacity { get; init; }
    public required NodeResources Allocated { get; init; }
}

public sealed record NodeResources(long Cpus, long MemoryMb, long DiskMb, long Machines);

/// <summary>RFC 9457. <c>Code</c> is one of <see cref="ProblemCodes"/>; <c>Error</c> repeats the detail for clients of the Fly API.</summary>
public sealed record Problem
{
    public string Type { get; init; } = "about:blank";
    public required string Title { get; init; }
    public required int Status { get; init; }
    public required string Detail { get; init; }
    public required string Code { get; init; }
    public string? Instance { get; init; }
    public string? Error { get; init; }
}

/// <summary>How <c>ravel</c> finds a daemon: <c>client.json</c> in a data directory, mode 0600.</summary>
public sealed record ClientConfig
{
    /// <summary>e.g. <c>http://127.0.0.1:7717</c>.</summary>
    public required string Server { get; init; }
    public required string Token { get; init; }
    public required string DataDirectory { get; init; }

    /// <summary>Of the daemon, for <c>ravel down</c>.</summary>
    public required int Pid { get; init; }
    public required ulong PidStartTime { get; init; }
}

/// <summary>Source-generated JSON of the public API, snake_case.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    NumberHandling = JsonNumberHandling.Strict)]
[JsonSerializable(typeof(CreateAppRequest))]
[JsonSerializable(typeof(App))]
[JsonSerializable(typeof(AppList))]
[JsonSerializable(typeof(CreateMachineRequest))]
[JsonSerializable(typeof(CreateMachinesRequest))]
[JsonSerializable(typeof(Machine))]
[JsonSerializable(typeof(IReadOnlyList<string>))]
[JsonSerializable(typeof(IReadOnlyList<Machine>))]
[JsonSerializable(typeof(IReadOnlyList<MachineEvent>))]
[JsonSerializable(typeof(MachineEvent))]
[JsonSerializable(typeof(MachineUsage))]
[JsonSerializable(typeof(IReadOnlyList<MachineUsage>))]
[JsonSerializable(typeof(LeaseRequest))]
[JsonSerializable(typeof(LeaseResponse))]
[JsonSerializable(typeof(Volume))]
[JsonSerializable(typeof(IReadOnlyList<Volume>))]
[JsonSerializable(typeof(CreateVolumeRequest))]
[JsonSerializable(typeof(ExtendVolumeRequest))]
[JsonSerializable(typeof(ExtendVolumeResponse))]
[JsonSerializable(typeof(StopMachineRequest))]
[JsonSerializable(typeof(SignalRequest))]
[JsonSerializable(typeof(Acknowledgement))]
[JsonSerializable(typeof(MetadataValue))]
[JsonSerializable(typeof(IReadOnlyDictionary<string, string>))]
[JsonSerializable(typeof(ExecRequest))]
[JsonSerializable(typeof(ExecResponse))]
[JsonSerializable(typeof(ExecControl))]
[JsonSerializable(typeof(LogLine))]
[JsonSerializable(typeof(ImageList))]
[JsonSerializable(typeof(ImageDetails))]
[JsonSerializable(typeof(IReadOnlyList<ImageDetails>))]
[JsonSerializable(typeof(PruneImagesRequest))]
[JsonSerializable(typeof(PrunedImages))]
[JsonSerializable(typeof(VerifyImagesRequest))]
[JsonSerializable(typeof(VerifiedImage))]
[JsonSerializable(typeof(PullImageRequest))]
[JsonSerializable(typeof(PullProgress))]
[JsonSerializable(typeof(RemovedImages))]
[JsonSerializable(typeof(Image))]
[JsonSerializable(typeof(KernelList))]
[JsonSerializable(typeof(Kernel))]
[JsonSerializable(typeof(KernelProgress))]
[JsonSerializable(typeof(SetDefaultKernelRequest))]
[JsonSerializable(typeof(Namespace))]
[JsonSerializable(typeof(NamespaceList))]
[JsonSerializable(typeof(CreateNamespaceRequest))]
[JsonSerializable(typeof(CreateTokenRequest))]
[JsonSerializable(typeof(Token))]
[JsonSerializable(typeof(IReadOnlyList<Token>))]
[JsonSerializable(typeof(CreateJoinTokenRequest))]
[JsonSerializable(typeof(NodeJoinToken))]
[JsonSerializable(typeof(ServerInfo))]
[JsonSerializable(typeof(Node))]
[JsonSerializable(typeof(IReadOnlyList<Node>))]
[JsonSerializable(typeof(Problem))]
[JsonSerializable(typeof(ClientConfig))]
public sealed partial class ApiJson : JsonSerializerContext;
