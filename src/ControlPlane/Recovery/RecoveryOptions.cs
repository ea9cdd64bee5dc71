namespace Ravel.ControlPlane.Recovery;

/// <summary>How soon a server acts on what fails around it.</summary>
public sealed record RecoveryOptions
{
    /// <summary>A node of which no server hears for so long is lost: machines that may move start elsewhere.</summary>
    public TimeSpan NodeLostAfter { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Longest time between two looks at what is lost, on its way or left over.</summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Between two renewals of a lease, and between two looks of those that wait for it.</summary>
    public TimeSpan LeaseRenewal { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>A holder that could not renew its lease for so long acts as if it had none.</summary>
    public TimeSpan LeaseLimit { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>A lease that was not renewed for so long is taken over.</summary>
    public TimeSpan LeaseTakeover { get; init; } = TimeSpan.FromSeconds(7);

    /// <summary>How long a VM without a record, or a record without a VM, must have been seen before anything is done about it.</summary>
    public TimeSpan OrphanGrace { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>Most VMs without a record that are removed in an hour: a database of yesterday must not end a cluster of today.</summary>
    public int OrphanRemovalsPerHour { get; init; } = 20;

    /// <summary>Machines that are moved at the same time.</summary>
    public int MovesAtOnce { get; init; } = 8;

    /// <exception cref="ArgumentException">A value no server could run with; names the setting.</exception>
    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(NodeLostAfter, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(Interval, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(LeaseRenewal, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(LeaseLimit, LeaseRenewal);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(LeaseTakeover, LeaseLimit);
        ArgumentOutOfRangeException.ThrowIfLessThan(OrphanGrace, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThan(OrphanRemovalsPerHour, 0);
        ArgumentOutOfRangeException.ThrowIfLessThan(MovesAtOnce, 1);
    }
}
