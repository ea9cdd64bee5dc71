namespace Ravel.Cli.Images;

/// <summary>References as people write them.</summary>
internal static class ImageName
{
    private const string Hub = "docker.io/";
    private const string HubLibrary = "docker.io/library/";

    /// <summary>Without what is meant anyway: <c>docker.io/library/nginx:1</c> is <c>nginx:1</c>.</summary>
    public static string Familiar(string reference) =>
        reference.StartsWith(HubLibrary, StringComparison.Ordinal) ? reference[HubLibrary.Length..]
        : reference.StartsWith(Hub, StringComparison.Ordinal) ? reference[Hub.Length..]
        : reference;
}
