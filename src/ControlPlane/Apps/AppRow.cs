namespace Ravel.ControlPlane.Apps;

internal sealed class AppRow
{
    /// <summary>A ULID: the name of an app may be used again after it was deleted.</summary>
    public required string Id { get; set; }

    public required string Namespace { get; set; }

    public required string Name { get; set; }

    public required DateTimeOffset CreatedAt { get; set; }
}
