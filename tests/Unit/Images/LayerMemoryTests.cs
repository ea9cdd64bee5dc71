using Ravel.Images;
using Ravel.Images.Archives;
using Ravel.Images.Build;
using Ravel.Images.Layers;
using Ravel.Images.Manifests;
using Ravel.Testing.Images;

namespace Ravel.Unit.Images;

/// <summary>The memory of layers on their way: never more than was given, and enough for everybody to go on.</summary>
public sealed class LayerMemoryTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-memory-").FullName;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData(6, 1, 1)]
    [InlineData(7, 1, 1)]
    [InlineData(12, 4, 1)]
    [InlineData(36, 16, 1)]
    [InlineData(71, 16, 1)]
    [InlineData(72, 16, 2)]
    [InlineData(256, 16, 7)]
    public void Memory_is_shares_of_two_queues_and_four_hands(int chunks, int queueLength, int shares)
    {
        var memory = new LayerMemory((long)chunks * ChunkQueue.ChunkSize);
        Assert.Equal(queueLength, memory.QueueLength);
        Assert.Equal(Enumerable.Repeat(true, shares).Append(false), Enumerable.Range(0, shares + 1).Select(_ => memory.TryTakeShare(wait: false, Cancellation)));
        memory.ReturnShare();
        Assert.True(memory.TryTakeShare(wait: true, Cancellation));
    }

    [Fact]
    public void Too_little_to_move_anything_is_refused() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new LayerMemory(LayerMemory.MinBytes - 1));

    [Fact]
    public async Task A_build_that_has_no_share_goes_before_those_that_want_one_more()
    {
        var memory = new LayerMemory(LayerMemory.MinBytes);
        Assert.True(memory.TryTakeShare(wait: true, Cancellation));
        for (var turn = 0; turn < 100; turn++)
        {
            var waiting = Task.Run(() => memory.TryTakeShare(wait: true, Cancellation), Cancellation);
            SpinWait.SpinUntil(() => memory.Waiting == 1 || waiting.IsCompleted);
            memory.ReturnShare();
            Assert.False(memory.TryTakeShare(wait: false, Cancellation));
            Assert.True(await waiting);
        }
    }

    [Fact]
    public async Task A_layer_that_begins_with_a_frame_to_skip_waits_for_its_turn()
    {
        var memory = new LayerMemory(LayerMemory.DefaultBytes);
        var stored = new ChunkQueue(1);
        var buffer = memory.Rent();
        byte[] skipped = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
        skipped.CopyTo(buffer, 0);
        await stored.WriteAsync(new Chunk(buffer, skipped.Length), Cancellation);
        stored.Complete();
        await using var stream = new ChunkQueueStream(stored, memory, Cancellation);
        var turns = 0;
        await using var inflater = Inflaters.Open(stream, () => turns++);
        Assert.Equal(1, turns);
    }

    [Theory]
    [InlineData(1, 6)]
    [InlineData(3, 6)]
    [InlineData(3, 40)]
    [InlineData(3, 256)]
    public async Task Builds_of_127_layers_stay_within_any_budget_and_end(int builds, int chunks)
    {
        var memory = new LayerMemory((long)chunks * ChunkQueue.ChunkSize);
        var layers = Enumerable.Range(0, 127).Select(i => new TarBuilder().File($"{i}", new string('x', 400_000)).ToArray()).ToArray();
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        patience.CancelAfter(Patience);
        var files = await Task.WhenAll(Enumerable.Range(0, builds).Select(n => BuildAsync(memory, layers, $"{n}", patience.Token)));

        Assert.InRange(memory.Peak, 1, (long)chunks * ChunkQueue.ChunkSize);
        Assert.Equal(0, memory.Held);
        Assert.All(files, file => Assert.Equal(127, new ErofsReader(File.ReadAllBytes(file)).ReadAll().Count(node => node.Value.Mode >> 12 == 8)));
    }

    [Fact]
    public async Task A_layer_that_nobody_reads_stops_at_its_share()
    {
        var memory = new LayerMemory(12L * ChunkQueue.ChunkSize);
        Assert.True(memory.TryTakeShare(wait: true, Cancellation));
        // Does not shrink, so that both queues fill.
        var content = new byte[40 * ChunkQueue.ChunkSize];
        new Random(3).NextBytes(content);
        var (source, manifest) = await SourceAsync("huge", content);
        await using (source)
        {
            await using var layer = LayerStream.Start(
                source, manifest.Layers[0], new LayerBudget(long.MaxValue), memory, TimeProvider.System, null, Cancellation);
            // All places but the reader's hand.
            for (var read = 0; read < 8; read++)
            {
                var full = (11L + Math.Min(read, 1)) * ChunkQueue.ChunkSize;
                Assert.True(SpinWait.SpinUntil(() => memory.Held == full, Patience), $"{memory.Held} bytes are held after {read} reads");
                Assert.False(layer.Read(ChunkQueue.ChunkSize).IsEmpty);
            }
            Assert.Equal(12L * ChunkQueue.ChunkSize, memory.Peak);
        }
        Assert.Equal(0, memory.Held);
        Assert.True(memory.TryTakeShare(wait: false, Cancellation));
    }

    [Fact]
    public async Task A_build_that_is_cancelled_or_fails_gives_everything_back()
    {
        var memory = new LayerMemory(LayerMemory.DefaultBytes);
        var layers = Enumerable.Range(0, 20).Select(i => new TarBuilder().File($"{i}", new string('x', 1_500_000)).ToArray()).ToArray();
        for (var round = 0; round < 10; round++)
        {
            using var cancelled = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(
                () => BuildAsync(memory, layers, $"{round}", cancelled.Token, new CancelAt(cancelled, 1 + (round * 2))));
            Assert.Equal(0, memory.Held);
        }
        layers[10] = [.. layers[10][..100_000], .. "damage"u8, .. new byte[4096]];
        layers[11] = new TarBuilder().Entry('Z', "unknown"u8.ToArray()).ToArray();
        await Assert.ThrowsAsync<ImageException>(() => BuildAsync(memory, layers, "damaged", Cancellation));
        Assert.Equal(0, memory.Held);
        // Nobody holds a share any more.
        Assert.Equal(7, Enumerable.Range(0, 8).Count(_ => memory.TryTakeShare(wait: false, Cancellation)));
    }

    private async Task<string> BuildAsync(
        LayerMemory memory, byte[][] layers, string name, CancellationToken cancellationToken, IProgress<ImageProgress>? progress = null)
    {
        var (source, manifest) = await SourceAsync(name, layers);
        await using (source)
        {
            var path = Path.Combine(_directory, $"{name}.erofs");
            using var file = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite);
            await RootfsBuilder.BuildAsync(
                source, manifest, file, new ImageLimits(), memory, durable: false, TimeProvider.System, progress, cancellationToken);
            return path;
        }
    }

    private async Task<(IImageSource Source, ImageManifest Manifest)> SourceAsync(string name, params byte[][] layers)
    {
        var directory = Directory.CreateDirectory(Path.Combine(_directory, name)).FullName;
        var builder = new LayoutBuilder(directory);
        foreach (var layer in layers)
            builder.Layer(layer);
        builder.Build();
        var source = new OciLayoutSource(new DirectoryFiles(directory), null, name, new ImageLimits());
        return (source, await source.ResolveAsync(Cancellation));
    }

    private sealed class CancelAt(CancellationTokenSource cancelled, int report) : IProgress<ImageProgress>
    {
        private int _reports;

        public void Report(ImageProgress value)
        {
            if (Interlocked.Increment(ref _reports) == report)
                cancelled.Cancel();
        }
    }
}
