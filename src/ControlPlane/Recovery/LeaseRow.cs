namespace Ravel.ControlPlane.Recovery;

/// <summary>The right of one server to do what one does for all.</summary>
internal sealed class LeaseRow
{
    public required string Name { get; set; }

    /// <summary>Of one run of one server; empty when it was given back.</summary>
    public required string Holder { get; set; }

    /// <summary>Grows while it is held. Others compare it with what they read before, never clocks.</summary>
    public long Beat { get; set; }
}
