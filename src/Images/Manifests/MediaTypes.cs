namespace Ravel.Images.Manifests;

/// <summary>The media types of OCI (image specification, media-types.md) and of Docker's version 2 schema 2.</summary>
internal static class MediaTypes
{
    public const string OciIndex = "application/vnd.oci.image.index.v1+json";
    public const string OciManifest = "application/vnd.oci.image.manifest.v1+json";
    public const string OciConfig = "application/vnd.oci.image.config.v1+json";
    public const string OciLayer = "application/vnd.oci.image.layer.v1.tar";
    public const string DockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json";
    public const string DockerManifest = "application/vnd.docker.distribution.manifest.v2+json";

    /// <summary>Head of its two types.</summary>
    public const string DockerSchema1 = "application/vnd.docker.distribution.manifest.v1+";

    /// <summary>What a registry is asked for, in this order of preference.</summary>
    public static readonly string[] Accepted = [OciIndex, DockerIndex, OciManifest, DockerManifest];

    public static bool IsIndex(string mediaType) => mediaType is OciIndex or DockerIndex;

    public static bool IsManifest(string mediaType) => mediaType is OciManifest or DockerManifest;
}
