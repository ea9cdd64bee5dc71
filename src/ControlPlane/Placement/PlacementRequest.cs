namespace Ravel.ControlPlane.Placement;

/// <summary>Where an app's machines go when there is a choice.</summary>
internal enum PlacementStrategy
{
    /// <summary>Over zones first, then over the nodes of a zone: one failure takes as few as possible.</summary>
    Spread,

    /// <summary>Onto nodes that run something already, the fullest first: empty ones stay empty.</summary>
    Pack,
}

/// <summary>A node on which a machine of this request has failed to start.</summary>
/// <param name="NodeId">Which.</param>
/// <param name="Times">How often in a row, at least 1.</param>
/// <param name="Ago">Since the last time.</param>
internal readonly record struct NodeFailure(string NodeId, int Times, TimeSpan Ago)
{
    /// <summary>After so long a failure weighs half as much.</summary>
    public static readonly TimeSpan HalfLife = TimeSpan.FromMinutes(2);

    /// <summary>From here on a node is taken only where no other one fits.</summary>
    public const double LastResort = 0.5;

    /// <summary>1 just after it, fading to 0; repeated failures begin higher and so last longer.</summary>
    public double Penalty => Math.Max(1, Math.Min(Times, 1 << 10)) * Math.Pow(2, -(Math.Max(0, Ago / HalfLife)));
}

/// <summary>What machines of one kind need of their node, all of them the same.</summary>
internal sealed record PlacementRequest
{
    /// <summary>Of one machine. Zeros for one that needs nothing yet.</summary>
    public required ResourceAmounts Wanted { get; init; }

    /// <summary>The machines of one app are spread against each other. Empty: they belong to none.</summary>
    public string AppId { get; init; } = "";

    /// <summary>Null: any.</summary>
    public string? Architecture { get; init; }

    /// <summary>Regions, best first. Empty: any, all the same.</summary>
    public IReadOnlyList<string> Regions { get; init; } = [];

    /// <summary>No region but those listed. Otherwise the others come after them.</summary>
    public bool RequireRegion { get; init; }

    public IReadOnlyCollection<string> Features { get; init; } = [];

    public IReadOnlyList<LabelConstraint> Constraints { get; init; } = [];

    /// <summary>The one node that will do, for what is only there: volumes, saved memory.</summary>
    public string? NodeId { get; init; }

    public PlacementStrategy Strategy { get; init; }

    /// <summary>Digest of the image; a node that has it starts sooner.</summary>
    public string? Image { get; init; }

    /// <summary>Where it has failed before.</summary>
    public IReadOnlyList<NodeFailure> Failures { get; init; } = [];

    /// <summary>0 for the best region; regions that are not listed are all equal and last.</summary>
    public int RankOf(string region)
    {
        for (var i = 0; i < Regions.Count; i++)
        {
            if (Regions[i] == region)
                return i;
        }
        return Regions.Count;
    }

    /// <summary>0 for a node without failures.</summary>
    public double PenaltyOf(string nodeId)
    {
        foreach (var failure in Failures)
        {
            if (failure.NodeId == nodeId)
                return failure.Penalty;
        }
        return 0;
    }
}
