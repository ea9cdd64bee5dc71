namespace Ravel.ControlPlane.Cluster;

internal sealed class JoinTokenRow
{
    /// <summary>A ULID; says nothing about the secret.</summary>
    public required string Id { get; set; }

    /// <summary>SHA-256 of the secret.</summary>
    public required byte[] Hash { get; set; }

    /// <summary>The node that may join with it although another key was that node's; null: none, which is for new nodes.</summary>
    public string? ForNode { get; set; }

    public required DateTimeOffset CreatedAt { get; set; }

    public required DateTimeOffset ExpiresAt { get; set; }

    /// <summary>Null until it is used. Of two who use it at once the second finds it changed.</summary>
    public DateTimeOffset? UsedAt { get; set; }

    public string? UsedBy { get; set; }
}
