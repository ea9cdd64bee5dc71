namespace Ravel.ControlPlane.Machines;

/// <summary>A request that was carried out, by the key its sender gave it.</summary>
internal sealed class IdempotencyRow
{
    public const int MaxKey = 255;

    public required string Namespace { get; set; }

    public required string Key { get; set; }

    /// <summary>SHA-256 of what was asked for.</summary>
    public required byte[] Fingerprint { get; set; }

    /// <summary>The machine it made, or what the machines it made have for their <see cref="MachineRow.Batch"/>.</summary>
    public required string Resource { get; set; }

    public required DateTimeOffset CreatedAt { get; set; }
}
