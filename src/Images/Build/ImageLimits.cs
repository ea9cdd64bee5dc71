namespace Ravel.Images;

/// <summary>What an image may cost. Everything beyond is refused with <c>image-invalid</c>, naming the limit.</summary>
public sealed record ImageLimits
{
    /// <summary>Sum of the sizes of all files of all layers, holes of sparse files included. Bytes.</summary>
    public long MaxFileBytes { get; init; } = 64L << 30;

    /// <summary>Sum of all layers, uncompressed. Bytes.</summary>
    public long MaxLayerBytes { get; init; } = 80L << 30;

    /// <summary>Sum of all layers as they are stored. Bytes.</summary>
    public long MaxCompressedBytes { get; init; } = 40L << 30;

    /// <summary>Entries of all layers together.</summary>
    public int MaxEntries { get; init; } = 1_000_000;

    /// <summary>Directories inside one another.</summary>
    public int MaxDepth { get; init; } = 2048;

    public int MaxLayers { get; init; } = 512;

    /// <summary>Extended attributes of all entries together. Bytes; they are the one part of a directory that is kept in memory.</summary>
    public long MaxXattrBytes { get; init; } = 64L << 20;

    /// <summary>Names and symbolic links' targets of all entries together, which are kept in memory. Bytes.</summary>
    public long MaxNameBytes { get; init; } = 64L << 20;

    /// <summary>Directories and links that are followed to find the places of all entries.</summary>
    public long MaxPathSteps { get; init; } = 200_000_000;
}
