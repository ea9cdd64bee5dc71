using System.Text.Json.Serialization;

namespace Ravel.Vmm.Firecracker;

// Bodies of Firecracker's API, the part Ravel uses; names and types as in src/firecracker/swagger/firecracker.yaml (1.17).

internal sealed record MachineConfiguration(int VcpuCount, int MemSizeMib, bool Smt = false, bool TrackDirtyPages = false);

internal sealed record BootSourceBody(string KernelImagePath, string InitrdPath, string BootArgs);

internal sealed record DriveBody(string DriveId, string PathOnHost, bool IsRootDevice, bool IsReadOnly, string CacheType, string IoEngine);

internal sealed record NetworkInterfaceBody(string IfaceId, string HostDevName, string GuestMac);

internal sealed record VsockBody(uint GuestCid, string UdsPath);

internal sealed record EntropyBody;

internal sealed record LoggerBody(string LogPath, string Level, bool ShowLevel);

internal sealed record ActionBody(string ActionType);

internal sealed record VmStateBody(string State);

internal sealed record SnapshotCreateBody(string SnapshotType, string SnapshotPath, string MemFilePath);

internal sealed record SnapshotLoadBody(
    string SnapshotPath, MemoryBackendBody MemBackend, bool ResumeVm, IReadOnlyList<NetworkOverrideBody>? NetworkOverrides);

internal sealed record MemoryBackendBody(string BackendType, string BackendPath);

internal sealed record NetworkOverrideBody(string IfaceId, string HostDevName);

internal sealed record InstanceInfo(string Id, string State, string VmmVersion);

/// <summary>Either key may be there: <c>error</c> comes from the HTTP layer below the API.</summary>
internal sealed record ErrorBody(string? FaultMessage, string? Error);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(MachineConfiguration))]
[JsonSerializable(typeof(BootSourceBody))]
[JsonSerializable(typeof(DriveBody))]
[JsonSerializable(typeof(NetworkInterfaceBody))]
[JsonSerializable(typeof(VsockBody))]
[JsonSerializable(typeof(EntropyBody))]
[JsonSerializable(typeof(LoggerBody))]
[JsonSerializable(typeof(ActionBody))]
[JsonSerializable(typeof(VmStateBody))]
[JsonSerializable(typeof(SnapshotCreateBody))]
[JsonSerializable(typeof(SnapshotLoadBody))]
[JsonSerializable(typeof(InstanceInfo))]
[JsonSerializable(typeof(ErrorBody))]
internal sealed partial class FirecrackerJson : JsonSerializerContext;
