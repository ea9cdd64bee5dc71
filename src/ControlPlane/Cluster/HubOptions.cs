namespace Ravel.ControlPlane.Cluster;

/// <summary>Configuration of a server's hub, where nodes join and say that they are there.</summary>
public sealed record HubOptions
{
    /// <summary>A secret of at least 32 bytes that seals the authority's key in the database; null: it stands there as it is.</summary>
    public byte[]? AuthoritySecret { get; init; }

    /// <summary>Between two announcements of a node, and between two looks of a server at the others' news.</summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>A node or server of which nothing is heard for so long is away.</summary>
    public TimeSpan LostAfter { get; init; } = TimeSpan.FromSeconds(10);

    public TimeSpan ServerCertificateLifetime { get; init; } = TimeSpan.FromHours(24);

    /// <summary>
    /// Longer than a server's, because a host that was off for longer than the rest of its certificate's life has to join again;
    /// removing a node does not wait for it.
    /// </summary>
    public TimeSpan NodeCertificateLifetime { get; init; } = TimeSpan.FromDays(7);

    /// <summary>Connections older than this take no new calls.</summary>
    public TimeSpan ConnectionLifetime { get; init; } = TimeSpan.FromHours(1);

    /// <exception cref="ArgumentException">A value no hub could run with; names the setting.</exception>
    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(Interval, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThan(LostAfter, Interval);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(ServerCertificateLifetime, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(NodeCertificateLifetime, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(ConnectionLifetime, TimeSpan.Zero);
        if (AuthoritySecret is { Length: < AuthorityKeySeal.MinSecret })
            throw new ArgumentException($"The cluster key is too short: at least {AuthorityKeySeal.MinSecret} bytes, such as of 'openssl rand -base64 32'.");
    }
}
