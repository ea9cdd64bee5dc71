namespace Ravel.Testing.Images;

/// <summary>An image in an OCI layout directory. <paramref name="Directory"/> is absolute; without a tag it is the only one.</summary>
public sealed record OciLayout(string Directory, string Tag = "latest")
{
    /// <summary>As <c>raveld rootfs build --image</c> and skopeo take it.</summary>
    public override string ToString() => $"oci:{Directory}:{Tag}";
}
