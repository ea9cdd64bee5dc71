using System.IO.Compression;
using System.Text;
using Ravel.Images;
using Ravel.Images.Build;
using Ravel.Images.Layers;
using Ravel.Images.Manifests;
using Ravel.Images.Tar;

namespace Ravel.Testing.Images.Fuzzing;

/// <summary>One archive through the tar reader alone, all data read.</summary>
public sealed class TarTarget : FuzzTarget
{
    public override string Name => "tar";

    public override IReadOnlyList<byte[]> Seeds => Archives.All;

    public override byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool) => TarMutator.Mutate(random, input, pool);

    public override string Read(byte[] input)
    {
        var source = new StreamByteSource(new MemoryStream(input), chunkSize: 777);
        var reader = new TarReader(source);
        var types = new SortedSet<TarEntryType>();
        while (reader.Next() is { } entry)
        {
            types.Add(entry.Type);
            long read = 0;
            // Every second entry is skipped instead, as a caller may.
            while (entry.Size % 2 == 0 && reader.ReadData() is { IsEmpty: false } bytes)
                read += bytes.Length;
            if (read > input.Length)
                throw new InvalidOperationException("More data was read than there is.");
        }
        return string.Join(' ', types);
    }
}

/// <summary>
/// Up to four archives merged and written: what is accepted has to be a file system that an independent reader takes, twice the
/// same one.
/// </summary>
public sealed class MergeTarget : FuzzTarget
{
    private static readonly byte[] Separator = "\u0001next layer\u0001"u8.ToArray();
    private static readonly ImageLimits Limits = new() { MaxFileBytes = 4 << 20, MaxEntries = 5000, MaxDepth = 64, MaxXattrBytes = 1 << 20 };

    public override string Name => "merge";

    public override IReadOnlyList<byte[]> Seeds { get; } =
    [
        .. Archives.All,
        Join(Archives.All[0], Archives.All[1]),
        Join(Archives.All[1], Archives.All[0], Archives.All[1], Archives.All[2]),
    ];

    public override long MaxAllocation => 96L << 20;

    /// <summary>Gets every accepted input's image, for an oracle outside of this process.</summary>
    public Action<byte[]>? Accepted { get; init; }

    public override byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool)
    {
        var layers = Split(input);
        var at = random.Next(layers.Count);
        var others = Split(ByteMutator.Pick(random, pool));
        if (random.Next(8) == 0 && layers.Count < 4)
            layers.Insert(at, ByteMutator.Pick(random, others));
        layers[at] = TarMutator.Mutate(random, layers[at], others);
        return Join([.. layers]);
    }

    public override string Read(byte[] input)
    {
        var layers = Split(input).ToArray();
        var image = TestRootfs.Build(Limits, layers);
        var nodes = new ErofsReader(image).ReadAll();
        if (!image.AsSpan().SequenceEqual(TestRootfs.Build(Limits, layers)))
            throw new InvalidOperationException("The same layers gave other bytes.");
        CheckLinks(nodes);
        Accepted?.Invoke(image);
        return string.Join(' ', nodes.Values.Select(node => node.Mode >> 12).Distinct().Order());
    }

    /// <summary>Every name that leads to a file is counted in it.</summary>
    private static void CheckLinks(SortedDictionary<string, ErofsNode> nodes)
    {
        foreach (var names in nodes.Values.Where(node => node.Mode >> 12 != 4).GroupBy(node => node.Number))
        {
            if (names.Count() != names.First().Links)
                throw new InvalidOperationException($"A file with {names.Count()} names counts {names.First().Links}.");
        }
    }

    private static byte[] Join(params byte[][] layers) =>
        [.. layers.SelectMany((layer, index) => index == 0 ? layer : [.. Separator, .. layer])];

    private static List<byte[]> Split(byte[] input)
    {
        var layers = new List<byte[]>();
        var rest = input.AsSpan();
        for (int at; layers.Count < 3 && (at = rest.IndexOf(Separator)) >= 0; rest = rest[(at + Separator.Length)..])
            layers.Add(rest[..at].ToArray());
        layers.Add(rest.ToArray());
        return layers;
    }
}

/// <summary>Compressed bytes through whichever inflater takes them.</summary>
public sealed class InflateTarget : FuzzTarget
{
    private const int MostRead = 4 << 20;

    private static readonly byte[][] Magic =
    [
        [0x1f, 0x8b, 8, 0], [0x1f, 0x8b, 8, 0x1f], [0x28, 0xb5, 0x2f, 0xfd], [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0], [0x5f, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff],
        [0x28, 0xb5, 0x2f, 0xfd, 0, 0x88], [0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8], [0x28, 0xb5, 0x2f, 0xfd, 0xe7, 1, 2, 3, 4], [0, 0, 0xff, 0xff], [1, 0, 0, 0xff, 0xff], [3, 0],
    ];

    public override string Name => "inflate";

    public override IReadOnlyList<byte[]> Seeds { get; } = Compressed.All(Archives.All[0]);

    public override byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool) => ByteMutator.Mutate(random, input, pool, Magic);

    public override string Read(byte[] input)
    {
        try
        {
            using var stream = Inflaters.Open(new MemoryStream(input), input);
            var buffer = new byte[64 * 1024];
            var total = 0;
            int read;
            while (total < MostRead && (read = stream.Read(buffer)) > 0)
                total += read;
            return $"{stream.GetType().Name} {(total == 0 ? "nothing" : total < MostRead ? "all" : "much")}";
        }
        catch (InvalidDataException e)
        {
            // Which is what the layer's pipeline makes an error of the image.
            throw new ImageException("image-invalid", e.Message, e);
        }
    }
}

/// <summary>A layer as it is stored through the whole pipeline into a file: receive, inflate, verify, merge, write.</summary>
public sealed class LayerTarget : FuzzTarget
{
    private static readonly ImageLimits Limits = new() { MaxFileBytes = 4 << 20, MaxLayerBytes = 8 << 20, MaxEntries = 5000, MaxDepth = 64 };

    private readonly InflateTarget _inflate = new();

    public override string Name => "layer";

    public override IReadOnlyList<byte[]> Seeds { get; } = [.. Archives.All.SelectMany(Compressed.All)];

    public override byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool) => random.Next(3) == 0
        ? TarMutator.Mutate(random, ByteMutator.Pick(random, Archives.All), Archives.All)
        : _inflate.Mutate(random, input, pool);

    public override string Read(byte[] input)
    {
        // With the right digest of whatever comes out, so that only the layer's own form decides.
        var diffId = DiffIdOf(input);
        var layer = new Layer("layer", Digest.Of(input), input.Length, diffId);
        var manifest = new ImageManifest(Digest.Of(input), [layer], new ImageConfig(), 0);
        var path = Path.GetTempFileName();
        try
        {
            using var file = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite);
            RootfsBuilder.BuildAsync(
                new OneLayer(input), manifest, file, Limits, durable: false, TimeProvider.System, null, CancellationToken.None).GetAwaiter().GetResult();
            return "";
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static Digest DiffIdOf(byte[] input)
    {
        using var archive = new MemoryStream();
        try
        {
            using var stream = Inflaters.Open(new MemoryStream(input), input);
            var buffer = new byte[64 * 1024];
            for (int read; archive.Length < Limits.MaxLayerBytes && (read = stream.Read(buffer)) > 0;)
                archive.Write(buffer, 0, read);
        }
        catch (InvalidDataException)
        {
            // Refused for that, whatever its digest.
        }
        return Digest.Of(archive.ToArray());
    }

    private sealed class OneLayer(byte[] stored) : IImageSource
    {
        public string Name => "fuzz";

        public Task<ImageManifest> ResolveAsync(CancellationToken cancellationToken) => throw new NotSupportedException();

        public Task<Stream> OpenLayerAsync(Layer layer, long offset, CancellationToken cancellationToken) =>
            Task.FromResult<Stream>(new MemoryStream(stored));

        public TimeSpan? RetryDelay(Layer layer, Exception error, int attempt) => null;

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}

/// <summary>Bytes in every compressed form a layer may have.</summary>
internal static class Compressed
{
    public static IReadOnlyList<byte[]> All(byte[] content) =>
    [
        content,
        Gzip(content),
        [.. Gzip(content[..^100]), .. Gzip([]), .. Gzip(content[^100..])],
        [.. Gzip(content), .. "trailing garbage"u8],
        Zstd(content, 1),
        Zstd(content, 19),
        [.. "\u0050\u002a\u004d\u0018\u0004\0\0\0skip"u8, .. Zstd(content[..600], 3), .. Zstd(content[600..], 3)],
    ];

    public static byte[] Gzip(byte[] content)
    {
        using var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionLevel.Optimal, leaveOpen: true))
            gzip.Write(content);
        return compressed.ToArray();
    }

    public static byte[] Zstd(byte[] content, int level)
    {
        using var compressor = new ZstdSharp.Compressor(level);
        compressor.SetParameter(ZstdSharp.Unsafe.ZSTD_cParameter.ZSTD_c_checksumFlag, 1);
        return compressor.Wrap(content).ToArray();
    }
}

/// <summary>Archives with everything an archive may have.</summary>
internal static class Archives
{
    public static readonly IReadOnlyList<byte[]> All =
    [
        new TarBuilder()
            .Directory("d/").File("a", "hello").File("d/e", new string('x', 5000)).SymbolicLink("s", "d").SymbolicLink("s2", "/d/../s").HardLink("h", "a")
            .Entry('3', "null"u8.ToArray(), major: 1, minor: 3).Entry('4', "disk"u8.ToArray(), major: 8, minor: 1).Entry('6', "pipe"u8.ToArray())
            .File("s/x", "through").ToArray(),
        new TarBuilder()
            .Whiteout(".wh.a").Whiteout("d/.wh..wh..opq").File("d/new", new string('y', 4096)).Whiteout("s/.wh.x").Directory("s").HardLink("d/h2", "h")
            .File("b", new string('z', 10_000)).HardLink("c", "b").File("b").ToArray(),
        new TarBuilder()
            .Pax(("path", "long/" + new string('n', 200)), ("uid", "70000"), ("gid", "4294967294"), ("mtime", "-1.5"), ("SCHILY.xattr.user.note", "value"), ("SCHILY.xattr.security.capability", "\u0001\0\0\u0002\0\u0004\0\0\0\0\0\0\0\0\0\0\0\0\0\0"))
            .File("short", "content")
            .Pax(("linkpath", new string('t', 300))).SymbolicLink("l", "x")
            .Entry('L', "././@LongLink"u8.ToArray(), content: Encoding.Latin1.GetBytes(new string('m', 180) + "\0")).File("short2", "more")
            .Entry('K', "././@LongLink"u8.ToArray(), content: Encoding.Latin1.GetBytes(new string('k', 180) + "\0")).SymbolicLink("l2", "y")
            .Pax(("GNU.sparse.size", "20000"), ("GNU.sparse.map", "0,3,9000,4")).File("sparse01", "abcdefg")
            .Pax(("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "named"), ("GNU.sparse.realsize", "9000"))
            .File("sparse10", "1\n4096\n4\n" + new string('\0', 503) + "data")
            .Pax(("GNU.sparse.size", "50"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.offset", "7"), ("GNU.sparse.numbytes", "3")).File("sparse00", "xyz")
            .ToArray(),
    ];
}
