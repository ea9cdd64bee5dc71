namespace Ravel.ControlPlane.Cluster;

/// <summary>A host that has joined, as others of this process need to know it.</summary>
/// <param name="Address">Where it serves; null until it has said so.</param>
/// <param name="KeyHash">SHA-256 of the key of its last certificate.</param>
/// <param name="PreviousKeyHash">And of the one before.</param>
internal sealed record Member(string? Address, byte[] KeyHash, byte[]? PreviousKeyHash)
{
    public static Member Of(MemberRow row) => new(row.Address, row.KeyHash, row.PreviousKeyHash);

    /// <summary>Whether a key is this host's. One that it had before it joined anew is not, however long its certificate is good.</summary>
    public bool Has(ReadOnlySpan<byte> keyHash) => keyHash.SequenceEqual(KeyHash) || (PreviousKeyHash is { } previous && keyHash.SequenceEqual(previous));
}
