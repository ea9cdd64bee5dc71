namespace Ravel.ControlPlane.Events;

internal sealed class MachineEventRow
{
    /// <summary>Given by the database, growing.</summary>
    public long Sequence { get; set; }

    public required string MachineId { get; set; }

    public required string Type { get; set; }

    public required string Status { get; set; }

    public required string Source { get; set; }

    public required DateTimeOffset At { get; set; }

    public string? InstanceId { get; set; }

    /// <summary>JSON of <see cref="Contracts.Api.MachineExit"/>.</summary>
    public string? Exit { get; set; }

    public string? ProblemCode { get; set; }

    public string? ProblemMessage { get; set; }
}
