using Ravel.Images;

namespace Ravel.Testing.Images.Hostile;

/// <summary>An image made to do harm, and what has to become of it.</summary>
/// <param name="Name">A sentence, and the name of its tests.</param>
/// <param name="Write">Writes the OCI layout. Gets the layout's directory and one beside it, which must not be touched.</param>
/// <param name="Words">Of the refusal; null when the image is harmless and built.</param>
public sealed record HostileImage(string Name, Action<string, string> Write, string? Words)
{
    /// <summary>Small ones, for what would otherwise take long to exceed; null for those of the product.</summary>
    public ImageLimits? Limits { get; init; }

    /// <summary>The codes a refusal may have.</summary>
    public IReadOnlyList<string> Codes { get; init; } = ["image-invalid"];

    /// <summary>What the rootfs of a harmless one has to hold.</summary>
    public Action<IReadOnlyDictionary<string, ErofsNode>>? Check { get; init; }

    /// <summary>Every one, by name.</summary>
    public static IReadOnlyDictionary<string, HostileImage> All { get; } =
        new[] { HostileLayers.All, HostileCompression.All, HostileDocuments.All }.SelectMany(images => images).ToDictionary(image => image.Name);

    public override string ToString() => Name;

    /// <summary>Layers of a layout, gzipped.</summary>
    internal static Action<string, string> Layers(params TarBuilder[] layers) => (directory, _) =>
        layers.Aggregate(new LayoutBuilder(directory), (layout, layer) => layout.Layer(layer.ToArray())).Build();
}
