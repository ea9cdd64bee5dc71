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
            using (var file = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite))
            {
                var writer = new ErofsWriter(file, BuildTime, new byte[16]);
                var merger = new LayerMerger(writer, limits);
                foreach (var layer in layers)
                    merger.Apply(new TarReader(new StreamByteSource(new MemoryStream(layer), chunkSize: 777)), CancellationToken.None);
                writer.Finish(merger.Root);
            }
            return File.ReadAllBytes(path);
        }
        finally
        {
            File.Delete(path);
        }
    }

    public static SortedDictionary<string, ErofsNode> Merge(params byte[][] layers) => new ErofsReader(Build(layers)).ReadAll();
}
