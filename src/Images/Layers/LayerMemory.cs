using System.Buffers;

namespace Ravel.Images.Layers;

/// <summary>
/// The memory for bytes on their way from a source to the tree, shared by all builds of a store. It is given out by the layer:
/// each holds at most its share, so that no layer waits for another's memory, and the one being merged always goes on.
/// </summary>
/// <remarks>
/// A build takes its first share waiting, and further ones, for layers ahead of it, only when they are free. So whoever holds
/// shares has the one it needs to go on and give them back, and nobody waits for ever.
/// </remarks>
#pragma warning disable CA1001 // The semaphore's wait handle is never made: nothing to dispose of.
internal sealed class LayerMemory
#pragma warning restore CA1001
{
    /// <summary>Less than this moves nothing: a chunk for each place of a layer's two queues of one, and for its stages.</summary>
    public const long MinBytes = ShareChunksAt1 * ChunkQueue.ChunkSize;

    /// <summary>Seven layers at full speed: a build with all it takes, and three more that go on beside it.</summary>
    public const long DefaultBytes = 64L << 20;

    private const int MostQueueLength = 16;

    /// <summary>Filled by the receiver, read and filled by the inflater, read by the merger.</summary>
    private const int ChunksBesideQueues = 4;
    private const int ShareChunksAt1 = 2 + ChunksBesideQueues;

    private readonly SemaphoreSlim _shares;
    private int _waiting;
    private long _held;
    private long _peak;

    /// <param name="bytes">At least <see cref="MinBytes"/>.</param>
    public LayerMemory(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bytes, MinBytes);
        var chunks = (int)Math.Min(bytes / ChunkQueue.ChunkSize, int.MaxValue);
        QueueLength = Math.Min((chunks - ChunksBesideQueues) / 2, MostQueueLength);
        _shares = new SemaphoreSlim(chunks / ((2 * QueueLength) + ChunksBesideQueues));
    }

    /// <summary>How many chunks may wait in each of the two queues of a layer.</summary>
    public int QueueLength { get; }

    /// <summary>Bytes in use at this moment.</summary>
    public long Held => Interlocked.Read(ref _held);

    /// <summary>The most bytes that were ever in use at once.</summary>
    public long Peak => Interlocked.Read(ref _peak);

    /// <summary>Builds that have no share and wait for one.</summary>
    public int Waiting => Volatile.Read(ref _waiting);

    /// <summary>What one layer may hold.</summary>
    /// <param name="wait">Until one is free; only for a build that has none.</param>
    /// <returns>False when none is free, or a build that has none waits for one.</returns>
    public bool TryTakeShare(bool wait, CancellationToken cancellationToken)
    {
        if (!wait)
            return Waiting == 0 && _shares.Wait(0, cancellationToken);
        Interlocked.Increment(ref _waiting);
        try
        {
            _shares.Wait(cancellationToken);
            return true;
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
        }
    }

    public void ReturnShare() => _shares.Release();

    public byte[] Rent()
    {
        var held = Interlocked.Add(ref _held, ChunkQueue.ChunkSize);
        for (var peak = Peak; held > peak;)
            peak = Interlocked.CompareExchange(ref _peak, held, peak) is var seen && seen == peak ? held : seen;
        return ArrayPool<byte>.Shared.Rent(ChunkQueue.ChunkSize);
    }

    public void Return(byte[] buffer)
    {
        ArrayPool<byte>.Shared.Return(buffer);
        Interlocked.Add(ref _held, -ChunkQueue.ChunkSize);
    }
}
