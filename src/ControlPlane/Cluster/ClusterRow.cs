namespace Ravel.ControlPlane.Cluster;

/// <summary>The cluster's authority; one row, made by the first server.</summary>
internal sealed class ClusterRow
{
    public const int Only = 1;

    public int Id { get; set; } = Only;

    /// <summary>X.509, DER.</summary>
    public required byte[] Certificate { get; set; }

    /// <summary>PKCS #8, or what <see cref="AuthorityKeySeal"/> made of it.</summary>
    public required byte[] Key { get; set; }

    public bool IsSealed { get; set; }

    public required DateTimeOffset CreatedAt { get; set; }
}
