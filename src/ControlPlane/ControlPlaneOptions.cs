using Ravel.ControlPlane.Cluster;
using Ravel.ControlPlane.Recovery;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane;

/// <summary>Configuration of the server role; a setting exists here and nowhere else.</summary>
public sealed record ControlPlaneOptions
{
    /// <summary>Where desired state is kept.</summary>
    public required DatabaseAddress Database { get; init; }

    /// <summary>The Unix socket on which the node of this host serves <c>ravel.node.v1.Node</c>; it need not exist yet. Null: there is none.</summary>
    public string? NodeSocketPath { get; init; }

    /// <summary>Where nodes join; null: this server is its own host's and takes no others.</summary>
    public HubOptions? Hub { get; init; }

    /// <summary>What <c>/v1/server</c> reports.</summary>
    public required string Version { get; init; }

    /// <summary>How long a destroyed machine can still be read by its id (exit code, events).</summary>
    public TimeSpan DestroyedRetention { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Longest time between two looks at everything that is not yet as it shall be.</summary>
    public TimeSpan SweepInterval { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long capacity stays reserved for a machine that was accepted but not yet handed to its node.</summary>
    public TimeSpan ReservationTtl { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Longest answer of one call to a node, streams apart.</summary>
    public TimeSpan NodeCallTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Largest image archive that <c>/v1/images/import</c> takes, in bytes.</summary>
    public long MaxImportBytes { get; init; } = 64L << 30;

    /// <summary>Largest kernel, with its modules, that <c>/v1/kernels</c> takes, in bytes.</summary>
    public long MaxKernelBytes { get; init; } = 512L << 20;

    public RecoveryOptions Recovery { get; init; } = new();

    /// <exception cref="ArgumentException">A value no server could run with; names the setting.</exception>
    internal void Validate()
    {
        ArgumentNullException.ThrowIfNull(Database);
        ArgumentException.ThrowIfNullOrWhiteSpace(Version);
        Hub?.Validate();
        Recovery.Validate();
        ArgumentOutOfRangeException.ThrowIfLessThan(DestroyedRetention, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(SweepInterval, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(ReservationTtl, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(NodeCallTimeout, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(MaxImportBytes, 0);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(MaxKernelBytes, 0);
    }
}
