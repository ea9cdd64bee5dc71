namespace Ravel.Contracts.Api;

/// <summary>A host that machines run on.</summary>
public sealed record Node
{
    public required string Id { get; init; }

    /// <summary>One of <see cref="NodeStates"/>.</summary>
    public required string State { get; init; }

    /// <summary>Nothing new is placed there; also said of a node that is away.</summary>
    public bool IsCordoned { get; init; }

    /// <summary>Of Ravel there; null while it is away, like the other figures of the moment.</summary>
    public string? Version { get; init; }

    public required string Vmm { get; init; }
    public required string VmmVersion { get; init; }
    public string? Accelerator { get; init; }
    public required string Architecture { get; init; }

    /// <summary>When this was last noted of it: at most a minute older than the truth while it is reached.</summary>
    public required DateTimeOffset SeenAt { get; init; }

    /// <summary>Machines that belong there and are not destroyed.</summary>
    public required int MachineCount { get; init; }

    public NodeResources? Capacity { get; init; }
    public NodeResources? Allocated { get; init; }
}

public static class NodeStates
{
    public const string Ready = "ready";
    public const string Cordoned = "cordoned";
    public const string Unreachable = "unreachable";

    /// <summary>Unreachable for so long that its machines start elsewhere.</summary>
    public const string Lost = "lost";
}
