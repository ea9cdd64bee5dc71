namespace Ravel.ControlPlane.Tokens;

internal sealed class TokenRow
{
    /// <summary>A ULID; says nothing about the secret.</summary>
    public required string Id { get; set; }

    public required string Name { get; set; }

    /// <summary>Null: the whole cluster.</summary>
    public string? Namespace { get; set; }

    /// <summary>SHA-256 of the secret as the client sends it.</summary>
    public required byte[] Hash { get; set; }

    public required DateTimeOffset CreatedAt { get; set; }
}
