namespace Ravel.ControlPlane.Placement;

/// <summary>The outcome for N machines that were planned as one.</summary>
/// <param name="Machines">
/// For each machine that can be placed the nodes to ask, best first and never empty. Machine i + 1 is planned as if machine i were on
/// its first node.
/// </param>
/// <param name="Refusal">Why the rest, if any, can't be placed, as the nodes would be with those above on them.</param>
internal sealed record PlacementPlan(IReadOnlyList<IReadOnlyList<string>> Machines, PlacementRefusal? Refusal);
