using Ravel.Images.Layers;

namespace Ravel.Images;

/// <summary>The images of one host.</summary>
public sealed record ImageStoreOptions
{
    /// <summary>The daemon's data directory; images are kept in <c>images/</c> below it.</summary>
    public required string DataDirectory { get; init; }

    public RegistryOptions Registry { get; init; } = new();

    /// <summary>
    /// Memory for layers that arrive and are inflated, of all builds together; at least 1.5 MiB. More lets more layers run at
    /// once. A build takes some 150 bytes for each name and a few MiB besides.
    /// </summary>
    public long LayerMemoryBytes { get; init; } = LayerMemory.DefaultBytes;

    public ImageLimits Limits { get; init; } = new();

    /// <summary>
    /// What the root file systems together may take, in bytes; null for no limit. When a new one takes them over it, those
    /// that were not used for longest go, but none that is imported, in use, or kept for a machine.
    /// </summary>
    public long? MaxBytes { get; init; }

    /// <summary>Images built at the same time; further ones wait. It bounds the memory of many different pulls at once.</summary>
    public int MaxBuildsAtOnce { get; init; } = 4;

    /// <summary>Told of every step of the store on disk right before it is done; only tests have something to do then.</summary>
    internal Action<string>? AtStep { get; init; }
}
