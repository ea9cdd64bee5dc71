using System.Globalization;
using System.Security.Cryptography;
using Ravel.Images;
using Ravel.Images.Build;
using Ravel.Images.Manifests;
using Ravel.Linux.Processes;
using Ravel.Testing.Images;
using Ravel.Testing.Images.Fuzzing;

namespace Ravel.Unit.Images;

/// <summary>
/// Images of full cost under the product's own limits, each in a process whose heap cannot grow: it runs out of memory when a bound on
/// memory is missing, and is killed when one on time is.
/// </summary>
/// <remarks>
/// Alone, because a process that is being started holds for a moment what others have open, and with it the locks of their stores.
/// </remarks>
[CollectionDefinition(nameof(HostileCostTests), DisableParallelization = true)]
[Collection(nameof(HostileCostTests))]
public sealed class HostileCostTests
{
    private static readonly byte[] Plain = new TarBuilder().File("hello").ToArray();

    /// <summary>Peak of all memory, managed or not, and the runtime itself.</summary>
    private const long MaxResidentBytes = 640L << 20;

    private const long HeapLimit = 384L << 20;

    private static readonly Dictionary<string, (Func<GeneratedImage> Image, string? Words)> Images = new()
    {
        ["a million empty directories"] = (() => new GeneratedImage([Directories(999_000)]), null),
        ["a million empty directories and two"] = (() => new GeneratedImage([Directories(1_000_002)]), "over 1000000 entries"),
        ["symbolic links of 4 KiB each"] = (() => new GeneratedImage([Links(30_000)]), "names and symbolic links have over"),
        ["four windows of 128 MiB at once"] = (() => new GeneratedImage([.. Enumerable.Repeat(Plain, 4).Select(Windowed)]), null),
        ["100,000 opaque whiteouts over a full directory"] = (() => new GeneratedImage([Whiteouts(100_000)]), null),
        ["a million empty gzip members"] = (() => new GeneratedImage([new GeneratedLayer([Compressed.Gzip(Plain), .. Enumerable.Repeat(Compressed.Gzip([]), 1_000_000)], Plain)]), null),
        ["half a gigabyte of zeros behind the archive"] = (() => new GeneratedImage([Zeros(512L << 20)]), null),
        ["half a gigabyte of global headers"] = (() => new GeneratedImage([Globals(500)]), null),
    };

    public static TheoryData<string> Names => [.. Images.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task An_image_of_full_cost_stays_within_memory(string name)
    {
        // This very program, with one test, as a child.
        var result = await CommandRunner.RunAsync(
            "/usr/bin/env",
            [
                $"DOTNET_GCHeapHardLimit=0x{HeapLimit:x}", $"RAVEL_HOSTILE_IMAGE={name}", Environment.ProcessPath!,
                "-noLogo", "-noColor", "-explicit", "only", "-method", $"*{nameof(HostileCostTests)}.{nameof(In_a_process_of_its_own)}",
            ],
            timeout: TimeSpan.FromMinutes(10), cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(result.ExitCode == 0, result.Output + result.Error);
        Assert.Contains("Total: 1,", result.Output);
    }

    [Fact(Explicit = true)]
    public async Task In_a_process_of_its_own()
    {
        var name = Environment.GetEnvironmentVariable("RAVEL_HOSTILE_IMAGE");
        Assert.SkipWhen(name is null, "RAVEL_HOSTILE_IMAGE names no image; the other test of this class starts this one with one");
        var (make, words) = Images[name];
        var image = make();
        var path = Path.GetTempFileName();
        try
        {
            using var file = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite);
            var error = await Record.ExceptionAsync(() => RootfsBuilder.BuildAsync(
                image, image.Manifest, file, new ImageLimits(), durable: false, TimeProvider.System, null, TestContext.Current.CancellationToken));
            if (words is null)
                Assert.Null(error);
            else
                Assert.Contains(words, Assert.IsType<ImageException>(error).Message);
        }
        finally
        {
            File.Delete(path);
        }
        Assert.InRange(PeakResidentBytes(), 1, MaxResidentBytes);
    }

    /// <summary>VmHWM of proc_pid_status(5).</summary>
    private static long PeakResidentBytes()
    {
        var line = File.ReadLines("/proc/self/status").First(text => text.StartsWith("VmHWM:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
    }

    private static GeneratedLayer Directories(int count) => new(Enumerable.Range(0, count).Select(i => new TarBuilder().Directory($"{i % 1000}/{i}").WithoutEnd()));

    private static GeneratedLayer Links(int count) => new(Enumerable.Range(0, count).Select(
        i => new TarBuilder().Pax(("linkpath", new string('t', 4000))).SymbolicLink($"{i}", "x").WithoutEnd()));

    private static GeneratedLayer Whiteouts(int count)
    {
        var opaque = new TarBuilder().Whiteout(".wh..wh..opq").WithoutEnd();
        return new(Directories(count).Parts.Concat(Enumerable.Repeat(opaque, count)));
    }

    private static GeneratedLayer Zeros(long count) => new(Enumerable.Repeat(new byte[1 << 20], (int)(count >> 20)).Prepend(Plain));

    private static GeneratedLayer Globals(int count)
    {
        var header = new TarBuilder().Entry('g', "g"u8.ToArray(), content: TarBuilder.PaxRecord("comment"u8.ToArray(), new byte[1_000_000])).WithoutEnd();
        return new(Enumerable.Repeat(header, count));
    }

    /// <summary>The frame of the largest window there may be, which a decoder has to take memory for before it knows how little comes.</summary>
    private static GeneratedLayer Windowed(byte[] archive)
    {
        // Magic; no single segment, no checksum; window of 2^27; then the archive in raw blocks (RFC 8878, 3.1.1).
        var header = archive.Length << 3;
        byte[] stored = [0x28, 0xb5, 0x2f, 0xfd, 0, (27 - 10) << 3, (byte)(header | 1), (byte)(header >> 8), (byte)(header >> 16), .. archive];
        return new GeneratedLayer([stored], archive);
    }

    /// <summary>A layer made while it is read.</summary>
    private sealed record GeneratedLayer(IEnumerable<byte[]> Parts, byte[]? Archive = null);

    private sealed class GeneratedImage : IImageSource
    {
        private readonly Dictionary<string, GeneratedLayer> _layers = [];

        public GeneratedImage(IReadOnlyList<GeneratedLayer> layers)
        {
            foreach (var layer in layers)
                _layers.Add($"{_layers.Count}", layer);
            Manifest = new ImageManifest(Digest.Of([]), [.. _layers.Select(pair => Describe(pair.Key, pair.Value))], new ImageConfig(), 0);
        }

        public string Name => "generated";

        public ImageManifest Manifest { get; }

        public Task<ImageManifest> ResolveAsync(CancellationToken cancellationToken) => Task.FromResult(Manifest);

        public Task<Stream> OpenLayerAsync(Layer layer, long offset, CancellationToken cancellationToken) =>
            Task.FromResult<Stream>(new PartsStream(_layers[layer.Name].Parts));

        public TimeSpan? RetryDelay(Layer layer, Exception error, int attempt) => null;

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;

        private static Layer Describe(string name, GeneratedLayer layer)
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            long size = 0;
            foreach (var part in layer.Parts)
            {
                hash.AppendData(part);
                size += part.Length;
            }
            var digest = Digest.Of(hash);
            return new Layer(name, digest, size, layer.Archive is null ? digest : Digest.Of(layer.Archive));
        }
    }

    private sealed class PartsStream(IEnumerable<byte[]> parts) : MemoryStream
    {
        private readonly IEnumerator<byte[]> _parts = parts.GetEnumerator();
        private ReadOnlyMemory<byte> _part;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            while (_part.IsEmpty && _parts.MoveNext())
                _part = _parts.Current;
            var step = Math.Min(buffer.Length, _part.Length);
            _part[..step].CopyTo(buffer);
            _part = _part[step..];
            return ValueTask.FromResult(step);
        }
    }
}
