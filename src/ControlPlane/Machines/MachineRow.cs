namespace Ravel.ControlPlane.Machines;

/// <summary>
/// One machine: first what it shall be (written by the API and by the rules of <see cref="MachineLifecycle"/>), then what was
/// heard of it (written by the push to its node and by the node's events).
/// </summary>
internal sealed class MachineRow
{
    public required string Id { get; set; }

    public required string AppId { get; set; }

    public required string Namespace { get; set; }

    public required string Name { get; set; }

    /// <summary>The name while the machine exists, null once it is destroyed: what makes names unique among the living.</summary>
    public string? LiveName { get; set; }

    /// <summary>JSON of <see cref="Contracts.Api.MachineConfig"/>.</summary>
    public required string Config { get; set; }

    public required DateTimeOffset CreatedAt { get; set; }

    public required DateTimeOffset UpdatedAt { get; set; }

    /// <summary>Grows with every write; a stale writer is refused.</summary>
    public long Version { get; set; }

    // --- What it shall be -------------------------------------------------------------------------------------------------

    public required DesiredState Desired { get; set; }

    public required long Generation { get; set; }

    public bool Force { get; set; }

    public bool StartAfterStop { get; set; }

    public int? StopSignal { get; set; }

    public int? StopTimeoutSeconds { get; set; }

    public required string NodeId { get; set; }

    /// <summary>The generation with which it came to its node: what the node says of an older one is about an earlier stay.</summary>
    public long PlacedGeneration { get; set; }

    public string? ReservationId { get; set; }

    /// <summary>Of its node when it was placed there; empty when the operator has named none.</summary>
    public string Region { get; set; } = "";

    /// <summary>Common to the machines that one request made together; null for one that was made alone.</summary>
    public string? Batch { get; set; }

    /// <summary>JSON: nodes on which it could not start, with how often and when last; null: none.</summary>
    public string? FailedNodes { get; set; }

    /// <summary>Of the lease, if there is one that has not expired.</summary>
    public string? LeaseNonce { get; set; }

    public string? LeaseOwner { get; set; }

    public string? LeaseDescription { get; set; }

    public DateTimeOffset? LeaseExpiresAt { get; set; }

    // --- What was heard of it -----------------------------------------------------------------------------------------------

    /// <summary>The newest generation its node has in its journal.</summary>
    public long AcceptedGeneration { get; set; }

    /// <summary>The newest generation its node refused for good.</summary>
    public long RefusedGeneration { get; set; }

    public long ObservedGeneration { get; set; }

    /// <summary>The newest generation in which an instance was seen running.</summary>
    public long StartedGeneration { get; set; }

    /// <summary>One of <see cref="Contracts.Api.MachineStates"/>; null before the first report.</summary>
    public string? ObservedState { get; set; }

    public string? InstanceId { get; set; }

    /// <summary>When the workload of the last instance was seen running.</summary>
    public DateTimeOffset? StartedAt { get; set; }

    public string? ImageDigest { get; set; }

    /// <summary>JSON of <see cref="Contracts.Api.Machine.Command"/>.</summary>
    public string? Command { get; set; }

    public string? PrivateIp { get; set; }

    public string? NodeIpv4 { get; set; }

    /// <summary>JSON of <see cref="Contracts.Api.MachineExit"/>.</summary>
    public string? Exit { get; set; }

    public string? ProblemCode { get; set; }

    public string? ProblemMessage { get; set; }

    public DateTimeOffset? DestroyedAt { get; set; }
}

/// <summary>Stored as a number: never renumber.</summary>
internal enum DesiredState
{
    Started = 1,
    Stopped = 2,
    Destroyed = 3,
    Suspended = 4,
}
