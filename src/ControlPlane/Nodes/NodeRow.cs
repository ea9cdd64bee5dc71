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
}
