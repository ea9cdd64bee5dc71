using Ravel.Images;
using Ravel.Images.Erofs;
using Ravel.Images.Layers;
using Ravel.Images.Tar;
using Ravel.Images.Tree;

namespace Ravel.Testing.Images;

/// <summary>Merges uncompressed layers into an EROFS image, without registry, compression or store.</summary>
public static class TestRootfs
{
    /// <summary>The time that gets the small inode form.</summary>
    public const long BuildTime = 1_700_000_000;

    public static byte[] Build(params byte[][] layers) => Build(new ImageLimits(), layers);

    public static byte[] Build(ImageLimits limits, params byte[][] layers)
    {
        var path = Path.GetTempFileName();
        try
        {
            BuildFile(path, limits, chunkSize: 777, [.. layers.Select(layer => new MemoryStream(layer))]);
            return File.ReadAllBytes(path);
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>The same into a file, from archives of any size.</summary>
    /// <returns>The file's size.</returns>
    public static long BuildFile(string path, ImageLimits limits, params Stream[] layers) => BuildFile(path, limits, 64 * 1024, layers);

    private static long BuildFile(string path, ImageLimits limits, int chunkSize, Stream[] layers)
    {
        using var file = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite);
        var writer = new ErofsWriter(file, BuildTime, new byte[16]);
        var merger = new LayerMerger(writer, limits);
        foreach (var layer in layers)
            merger.Apply(new TarReader(new StreamByteSource(layer, chunkSize)), CancellationToken.None);
        return writer.Finish(merger.Root);
    }

    public static SortedDictionary<string, ErofsNode> Merge(params byte[][] layers) => new ErofsReader(Build(layers)).ReadAll();
}
