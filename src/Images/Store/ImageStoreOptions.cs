namespace Ravel.Images;

/// <summary>The images of one host.</summary>
public sealed record ImageStoreOptions
{
    /// <summary>The daemon's data directory; images are kept in <c>images/</c> below it.</summary>
    public required string DataDirectory { get; init; }

    public RegistryOptions Registry { get; init; } = new();

    public ImageLimits Limits { get; init; } = new();
}
