namespace Ravel.ControlPlane.Cluster;

/// <summary>A host that has joined. Without this row no certificate of it is worth anything.</summary>
internal sealed class MemberRow
{
    /// <summary>The node's.</summary>
    public required string Id { get; set; }

    /// <summary>SHA-256 of the public key of its last certificate.</summary>
    public required byte[] KeyHash { get; set; }

    /// <summary>Of the one before it, which its holder goes on with when the answer to a renewal is lost; null after joining.</summary>
    public byte[]? PreviousKeyHash { get; set; }

    public required DateTimeOffset JoinedAt { get; set; }

    /// <summary>Where it serves node.proto; null until it has said so.</summary>
    public string? Address { get; set; }

    /// <summary>Grows while the node announces itself, to whichever server. Servers compare it with what they read before, never clocks.</summary>
    public long Beat { get; set; }
}
