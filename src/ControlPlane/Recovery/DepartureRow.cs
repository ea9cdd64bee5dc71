namespace Ravel.ControlPlane.Recovery;

/// <summary>
/// A copy of a machine that has to go, because the machine is another node's now. Written in the transaction that moves the machine;
/// removed when the node has confirmed that nothing of the copy is left.
/// </summary>
internal sealed class DepartureRow
{
    /// <summary>Where the copy is.</summary>
    public required string NodeId { get; set; }

    public required string MachineId { get; set; }

    /// <summary>Higher than any the node was told: whatever comes late finds the copy gone.</summary>
    public required long Generation { get; set; }

    /// <summary>It goes on serving until the machine was seen running where it is now.</summary>
    public bool AfterStart { get; set; }

    /// <summary>The node was told: there is no way back.</summary>
    public bool IsBegun { get; set; }

    public required DateTimeOffset At { get; set; }
}
