namespace Ravel.ControlPlane.Nodes;

internal sealed class NodeRow
{
    /// <summary>As the node calls itself.</summary>
    public required string Id { get; set; }

    /// <summary>Of the newest event stored here; written in the transaction that stores it, so that none counts twice.</summary>
    public long LastSequence { get; set; }

    public required string Vmm { get; set; }

    public required string VmmVersion { get; set; }

    public required string Architecture { get; set; }

    /// <summary>Nothing new is placed there.</summary>
    public bool IsCordoned { get; set; }

    public required DateTimeOffset SeenAt { get; set; }

    /// <summary>When it was given up; null: it is there, or away for a short time.</summary>
    public DateTimeOffset? LostAt { get; set; }

    /// <summary>How many times it was given up.</summary>
    public long Epoch { get; set; }

    /// <summary>Since when its machines are moved elsewhere; null: they are not.</summary>
    public DateTimeOffset? DrainedSince { get; set; }

    /// <summary>When moving them is given up; null: never.</summary>
    public DateTimeOffset? DrainUntil { get; set; }

    /// <summary>Most machines of one app that are moved at the same time.</summary>
    public int DrainPerApp { get; set; }
}
