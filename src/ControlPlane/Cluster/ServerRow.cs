namespace Ravel.ControlPlane.Cluster;

/// <summary>A server whose hub nodes can call.</summary>
internal sealed class ServerRow
{
    /// <summary>Of this run of its process.</summary>
    public required string Id { get; set; }

    /// <summary>https://ADDRESS:PORT.</summary>
    public required string Hub { get; set; }

    /// <summary>Grows while the server runs.</summary>
    public long Beat { get; set; }
}
