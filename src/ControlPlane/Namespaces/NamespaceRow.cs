namespace Ravel.ControlPlane.Namespaces;

internal sealed class NamespaceRow
{
    public required string Name { get; set; }

    public required DateTimeOffset CreatedAt { get; set; }
}
