namespace Ravel.ControlPlane.Volumes;

/// <summary>A volume: what it shall be, and what its node has confirmed.</summary>
internal sealed class VolumeRow
{
    public required string Id { get; set; }

    public required string AppId { get; set; }

    public required string Namespace { get; set; }

    public required string Name { get; set; }

    /// <summary>The name of a volume, until its node has removed it; null for a snapshot: names are unique among volumes.</summary>
    public string? LiveName { get; set; }

    public required string NodeId { get; set; }

    public required long SizeMib { get; set; }

    /// <summary>The size that its node has confirmed; 0 before it is there.</summary>
    public long ConfirmedMib { get; set; }

    /// <summary>What it began as: a volume or a snapshot.</summary>
    public string? SourceId { get; set; }

    public bool IsSnapshot { get; set; }

    public bool IsDestroying { get; set; }

    /// <summary>The machine that mounts it; one that is destroyed counts as none.</summary>
    public string? MachineId { get; set; }

    public required DateTimeOffset CreatedAt { get; set; }

    /// <summary>Grows with every write; a stale writer is refused.</summary>
    public long Version { get; set; }
}
