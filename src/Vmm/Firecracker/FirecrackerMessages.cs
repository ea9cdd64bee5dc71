using System.Text.Json.Serialization;

namespace Ravel.Vmm.Firecracker;

// Bodies of Firecracker's API, the part Ravel uses; names and types as in src/firecracker/swagger/firecracker.yaml (1.17).

internal sealed record MachineConfiguration(int VcpuCount, int MemSizeMib, bool Smt = false, bool TrackDirtyPages = false);

internal sealed record BootSourceBody(string KernelImagePath, string InitrdPath, string BootArgs);

internal sealed record DriveBody(
    string DriveId, string PathOnHost, bool IsRootDevice, bool IsReadOnly, string CacheType, string IoEngine, RateLimiterBody? RateLimiter = null);

internal sealed record PartialDriveBody(string DriveId, RateLimiterBody RateLimiter);

internal sealed record NetworkInterfaceBody(
    string IfaceId, string HostDevName, string GuestMac, RateLimiterBody? RxRateLimiter = null, RateLimiterBody? TxRateLimiter = null);

internal sealed record PartialNetworkInterfaceBody(string IfaceId, RateLimiterBody RxRateLimiter, RateLimiterBody TxRateLimiter);

/// <summary>A bucket that is null is left as it is, one of size 0 ends its limit (docs/api_requests/patch-block.md).</summary>
internal sealed record RateLimiterBody(TokenBucketBody? Bandwidth, TokenBucketBody? Ops);

/// <param name="Size">Tokens (bytes or operations) it holds.</param>
/// <param name="RefillTime">Milliseconds until it is full again.</param>
internal sealed record TokenBucketBody(long Size, long RefillTime);

internal sealed record VsockBody(uint GuestCid, string UdsPath);

internal sealed record EntropyBody;

internal sealed record BalloonBody(int AmountMib, bool DeflateOnOom, int StatsPollingIntervalS);

internal sealed record BalloonUpdateBody(int AmountMib);

internal sealed record BalloonStatsBody(long TargetMib, long ActualMib, long? AvailableMemory);

internal sealed record LoggerBody(string LogPath, string Level, bool ShowLevel);

internal sealed record MetricsBody(string MetricsPath);

internal sealed record ActionBody(string ActionType);

internal sealed record VmStateBody(string State);

internal sealed record SnapshotCreateBody(string SnapshotType, string SnapshotPath, string MemFilePath);

internal sealed record SnapshotLoadBody(
    string SnapshotPath,
    MemoryBackendBody MemBackend,
    bool ResumeVm,
    IReadOnlyList<NetworkOverrideBody>? NetworkOverrides,
    bool TrackDirtyPages = false);

internal sealed record MemoryBackendBody(string BackendType, string BackendPath);

internal sealed record NetworkOverrideBody(string IfaceId, string HostDevName);

internal sealed record InstanceInfo(string Id, string State, string VmmVersion);

/// <summary>What <c>GET /vm/config</c> says, the part that is compared. Its logger and metrics are null even when set.</summary>
internal sealed record VmConfigBody(
    [property: JsonPropertyName("machine-config")] MachineConfiguration? MachineConfig,
    IReadOnlyList<DriveBody>? Drives,
    [property: JsonPropertyName("network-interfaces")] IReadOnlyList<NetworkInterfaceBody>? NetworkInterfaces,
    VsockBody? Vsock,
    BalloonBody? Balloon);

/// <summary>One line of metrics: what was counted since the line before (docs/metrics.md).</summary>
internal sealed record MetricsLine(BlockMetrics? Block);

internal sealed record BlockMetrics(long ReadBytes, long WriteBytes, long ReadCount, long WriteCount);

/// <summary>Either key may be there: <c>error</c> comes from the HTTP layer below the API.</summary>
internal sealed record ErrorBody(string? FaultMessage, string? Error);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(MachineConfiguration))]
[JsonSerializable(typeof(BootSourceBody))]
[JsonSerializable(typeof(DriveBody))]
[JsonSerializable(typeof(PartialDriveBody))]
[JsonSerializable(typeof(NetworkInterfaceBody))]
[JsonSerializable(typeof(PartialNetworkInterfaceBody))]
[JsonSerializable(typeof(VsockBody))]
[JsonSerializable(typeof(EntropyBody))]
[JsonSerializable(typeof(BalloonBody))]
[JsonSerializable(typeof(BalloonUpdateBody))]
[JsonSerializable(typeof(BalloonStatsBody))]
[JsonSerializable(typeof(LoggerBody))]
[JsonSerializable(typeof(MetricsBody))]
[JsonSerializable(typeof(ActionBody))]
[JsonSerializable(typeof(VmStateBody))]
[JsonSerializable(typeof(SnapshotCreateBody))]
[JsonSerializable(typeof(SnapshotLoadBody))]
[JsonSerializable(typeof(InstanceInfo))]
[JsonSerializable(typeof(VmConfigBody))]
[JsonSerializable(typeof(MetricsLine))]
[JsonSerializable(typeof(DiskUsage))]
[JsonSerializable(typeof(LaunchedVm))]
[JsonSerializable(typeof(SnapshotSeal))]
[JsonSerializable(typeof(ErrorBody))]
internal sealed partial class FirecrackerJson : JsonSerializerContext;
