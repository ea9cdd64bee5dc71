using Ravel.Contracts.Ids;

namespace Ravel.Contracts.Api;

/// <summary>A volume, or a snapshot of one: a block device with an ext4 file system that outlives machines. The shape of the Fly Machines API.</summary>
public sealed record Volume
{
    public required VolumeId Id { get; init; }
    public required string Name { get; init; }

    /// <summary>Ravel's addition: the app it belongs to.</summary>
    public required string App { get; init; }

    /// <summary>One of <see cref="VolumeStates"/>.</summary>
    public required string State { get; init; }

    /// <summary>Whole GiB, rounded up.</summary>
    public required long SizeGb { get; init; }

    /// <summary>Ravel's addition: MiB.</summary>
    public required long SizeMb { get; init; }

    public string Region { get; init; } = "local";

    /// <summary>The machine whose configuration mounts it; one at a time.</summary>
    public MachineId? AttachedMachineId { get; init; }

    /// <summary>Ravel's addition: the volume this is a snapshot of.</summary>
    public VolumeId? SnapshotOf { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
}

/// <summary>States of a volume.</summary>
public static class VolumeStates
{
    public const string Creating = "creating";
    public const string Created = "created";

    /// <summary>Its new size is not in force at its node yet; a machine sees it at its next start in any case.</summary>
    public const string Extending = "extending";
    public const string Destroying = "destroying";
}

public sealed record CreateVolumeRequest
{
    /// <summary>Unique in its app: lower-case letters, digits and '-', at most 63.</summary>
    public required string Name { get; init; }
    public string? Region { get; init; }

    /// <summary>GiB; 1 if neither this nor <see cref="SizeMb"/> is given, or the snapshot's size.</summary>
    public int? SizeGb { get; init; }

    /// <summary>Ravel's addition: MiB, 16–16777216.</summary>
    public int? SizeMb { get; init; }

    /// <summary>Begin as a copy of this snapshot.</summary>
    public string? SnapshotId { get; init; }

    /// <summary>Begin as a copy of this volume.</summary>
    public string? SourceVolumeId { get; init; }
}

public sealed record ExtendVolumeRequest
{
    public int? SizeGb { get; init; }

    /// <summary>Ravel's addition.</summary>
    public int? SizeMb { get; init; }
}

/// <summary>The answer of an extension. <c>NeedsRestart</c>: a machine that has it sees the new size at its next start.</summary>
public sealed record ExtendVolumeResponse(Volume Volume, bool NeedsRestart);
