using Microsoft.Win32.SafeHandles;
using Ravel.Images.Erofs;
using Ravel.Images.Layers;
using Ravel.Images.Manifests;
using Ravel.Images.Tar;
using Ravel.Images.Tree;

namespace Ravel.Images.Build;

/// <summary>
/// Turns the layers of one image into an EROFS file, in one pass and without a file system in between. The same image
/// gives the same bytes.
/// </summary>
internal static class RootfsBuilder
{
    /// <summary>Layers under way at once: the one being merged, and those that arrive and inflate ahead of it.</summary>
    private const int LayersAhead = 4;

    /// <summary>A build by itself, with memory of its own.</summary>
    /// <param name="output">Empty, open for reading and writing.</param>
    /// <param name="durable">Has the disk work alongside, because the caller will flush the file.</param>
    /// <returns>The file's size.</returns>
    /// <exception cref="ImageException">The layers cannot be had or are not valid; what was written is of no use.</exception>
    public static Task<long> BuildAsync(
        IImageSource source, ImageManifest manifest, SafeFileHandle output, ImageLimits limits, bool durable,
        TimeProvider time, IProgress<ImageProgress>? progress, CancellationToken cancellationToken) =>
        BuildAsync(source, manifest, output, limits, new LayerMemory(LayerMemory.DefaultBytes), durable, time, progress, cancellationToken);

    /// <summary>A build beside others.</summary>
    /// <param name="memory">For the layers on their way; shared with the others.</param>
    /// <inheritdoc cref="BuildAsync(IImageSource, ImageManifest, SafeFileHandle, ImageLimits, bool, TimeProvider, IProgress{ImageProgress}, CancellationToken)"/>
    public static Task<long> BuildAsync(
        IImageSource source, ImageManifest manifest, SafeFileHandle output, ImageLimits limits, LayerMemory memory, bool durable,
        TimeProvider time, IProgress<ImageProgress>? progress, CancellationToken cancellationToken) =>
        // The merger blocks for bytes, so it has a thread of its own.
        Task.Factory.StartNew(
            () =>
            {
                while (true)
                {
                    try
                    {
                        return Merge(source, manifest, output, limits, memory, durable, time, progress, cancellationToken);
                    }
                    catch (ImageException e) when (e.Code == "image-invalid")
                    {
                        // Not in a filter, which runs while the other layers are still being read.
                        if (!source.TryAnotherPlace())
                            throw;
                        // What a mirror has made of a layer shows only when part of it is written: from the start, then.
                        RandomAccess.SetLength(output, 0);
                    }
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static long Merge(
        IImageSource source, ImageManifest manifest, SafeFileHandle output, ImageLimits limits, LayerMemory memory, bool durable,
        TimeProvider time, IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
    {
        var writer = new ErofsWriter(output, manifest.CreatedSeconds, manifest.ManifestDigest.ToBytes()[..16], durable);
        var merger = new LayerMerger(writer, limits);
        var budget = new LayerBudget(limits.MaxLayerBytes);
        var underWay = new Queue<LayerStream>();
        var next = 0;
        try
        {
            while (next < manifest.Layers.Count || underWay.Count > 0)
            {
                while (underWay.Count < LayersAhead && next < manifest.Layers.Count
                    && memory.TryTakeShare(wait: underWay.Count == 0, cancellationToken))
                {
                    underWay.Enqueue(LayerStream.Start(source, manifest.Layers[next++], budget, memory, time, progress, cancellationToken));
                }
                var layer = underWay.Peek();
                layer.TakeTurn();
                merger.Apply(new TarReader(layer), cancellationToken);
                layer.Finish();
                underWay.Dequeue();
                layer.DisposeAsync().AsTask().GetAwaiter().GetResult();
            }
        }
        catch (ImageException e) when (e.Code is "image-invalid" or "image-pull-failed" && !e.Message.Contains(source.Name, StringComparison.Ordinal))
        {
            throw new ImageException(e.Code, $"{source.Name} cannot be used: {e.Message}", e);
        }
        finally
        {
            foreach (var layer in underWay)
                layer.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
        progress?.Report(new ImageProgress("build"));
        return writer.Finish(merger.Root);
    }
}
