using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using Ravel.Images.Manifests;

namespace Ravel.Images.Layers;

/// <summary>
/// A layer on its way from its source to the tar reader, in three stages that run at once: receive and hash the stored
/// bytes; inflate; hash the archive (on the reader's thread). Bounded queues between them make memory independent of the
/// layer's size. Both digests are checked by <see cref="Finish"/>: nothing of the layer counts before that.
/// </summary>
internal sealed class LayerStream : ByteSource, IAsyncDisposable
{
    private const int MaxFailuresInARow = 5;
    private const int MaxFailures = 20;

    private readonly IImageSource _source;
    private readonly Layer _layer;
    private readonly LayerBudget _budget;
    private readonly LayerMemory _memory;
    private readonly TimeProvider _time;
    private readonly IProgress<ImageProgress>? _progress;
    private readonly CancellationTokenSource _stop;
    private readonly ChunkQueue _stored;
    private readonly ChunkQueue _archive;
    private readonly IncrementalHash _archiveHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly TaskCompletionSource _turn = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _receiving;
    private readonly Task _inflating;
    private Chunk _current;

    private LayerStream(
        IImageSource source, Layer layer, LayerBudget budget, LayerMemory memory, TimeProvider time,
        IProgress<ImageProgress>? progress, CancellationToken cancellationToken)
    {
        _source = source;
        _layer = layer;
        _budget = budget;
        _memory = memory;
        _stored = new ChunkQueue(memory.QueueLength);
        _archive = new ChunkQueue(memory.QueueLength);
        _time = time;
        _progress = progress;
        _stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _receiving = Task.Run(ReceiveAsync, CancellationToken.None);
        _inflating = Task.Factory.StartNew(Inflate, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>Starts both stages; what they produce waits in the queues until it is read.</summary>
    /// <param name="memory">The caller has taken a share of it; disposing gives it back.</param>
    public static LayerStream Start(
        IImageSource source, Layer layer, LayerBudget budget, LayerMemory memory, TimeProvider time,
        IProgress<ImageProgress>? progress, CancellationToken cancellationToken) =>
        new(source, layer, budget, memory, time, progress, cancellationToken);

    /// <summary>Says that all layers before this one are done with.</summary>
    public void TakeTurn() => _turn.TrySetResult();

    /// <summary>Reads what follows the archive's end and checks that the layer is the one the manifest names.</summary>
    /// <exception cref="ImageException"><c>image-invalid</c>: a digest is wrong.</exception>
    public void Finish()
    {
        while (!Read(long.MaxValue).IsEmpty)
        {
            // Padding after the archive's end is part of what the digests cover.
        }
        var actual = Digest.Of(_archiveHash);
        if (actual != _layer.DiffId)
            throw new ImageException("image-invalid", $"layer {_layer.Name} unpacks to {actual}, but the image's configuration says {_layer.DiffId}");
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var stage in (Task[])[_receiving, _inflating])
        {
            try
            {
                await stage;
            }
            catch (Exception)
            {
                // The reader got it through the queue, or gave the layer up itself.
            }
        }
        GiveBack();
        _stored.Drain(_memory);
        _archive.Drain(_memory);
        _memory.ReturnShare();
        _archiveHash.Dispose();
        _stop.Dispose();
    }

    protected override ReadOnlyMemory<byte> NextChunk()
    {
        GiveBack();
        // The queue answers while it has something, which in a long layer is always.
        _stop.Token.ThrowIfCancellationRequested();
        if (!_archive.TryRead(out _current, _stop.Token))
        {
            _current = default;
            return default;
        }
        var bytes = _current.Buffer.AsMemory(0, _current.Length);
        _archiveHash.AppendData(bytes.Span);
        return bytes;
    }

    private void GiveBack()
    {
        if (_current.Buffer is not null)
            _memory.Return(_current.Buffer);
        _current = default;
    }

    private async Task ReceiveAsync()
    {
        Exception? error = null;
        try
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            await ReceiveAllAsync(hash);
            if (_layer.Digest is { } expected && Digest.Of(hash) is var actual && actual != expected)
                throw new ImageException("image-invalid", $"layer {_layer.Name} arrived as {actual}; try again, and if it stays so, push the image anew");
        }
        catch (Exception e)
        {
            error = e;
        }
        _stored.Complete(error);
    }

    /// <summary>Receives to the layer's stated end, going on where a broken transfer stopped.</summary>
    private async Task ReceiveAllAsync(IncrementalHash hash)
    {
        long received = 0;
        var failures = 0;
        var failuresInARow = 0;
        while (true)
        {
            TimeSpan? retry;
            try
            {
                await using var stream = await _source.OpenLayerAsync(_layer, received, _stop.Token);
                while (true)
                {
                    var (length, broken) = await ReceiveChunkAsync(stream, received, hash);
                    if (length == 0)
                        break;
                    received += length;
                    _progress?.Report(new ImageProgress("pull", _layer.Name, received, _layer.Size));
                    failuresInARow = 0;
                    broken?.Throw();
                }
                if (received == _layer.Size)
                    return;
                throw new EndOfStreamException($"layer {_layer.Name} ended after {received} of {_layer.Size} bytes");
            }
            catch (Exception e) when (e is not (ImageException or OperationCanceledException))
            {
                // All that was announced is here: whether it is the layer is for the digests to say.
                if (received == _layer.Size)
                    return;
                failures++;
                failuresInARow++;
                retry = failures < MaxFailures && failuresInARow < MaxFailuresInARow ? _source.RetryDelay(_layer, e, failuresInARow) : null;
                if (retry is null)
                    throw new ImageException("image-pull-failed", $"layer {_layer.Name} could not be read, not even again from where it broke off: {e.Message.TrimEnd('.')}; try later, or from another registry", e);
            }
            await Task.Delay(retry.Value, _time, _stop.Token);
        }
    }

    /// <summary>Fills a whole chunk where it can, small reads would cost a hand-over each, and hands it on. What came before a break counts.</summary>
    /// <returns>Its length, 0 at the end, and what broke the transfer behind it.</returns>
    private async Task<(int Length, ExceptionDispatchInfo? Broken)> ReceiveChunkAsync(Stream stream, long received, IncrementalHash hash)
    {
        var buffer = _memory.Rent();
        var isHandedOn = false;
        try
        {
            var length = 0;
            ExceptionDispatchInfo? broken = null;
            while (length < ChunkQueue.ChunkSize && broken is null)
            {
                try
                {
                    var read = await stream.ReadAsync(buffer.AsMemory(length, ChunkQueue.ChunkSize - length), _stop.Token);
                    if (read == 0)
                        break;
                    length += read;
                }
                catch (Exception e) when (length > 0 && e is not OperationCanceledException)
                {
                    broken = ExceptionDispatchInfo.Capture(e);
                }
            }
            if (length == 0)
                return (0, null);
            if (length > _layer.Size - received)
                throw new ImageException("image-invalid", $"layer {_layer.Name} is longer than the {_layer.Size} bytes its manifest says");
            hash.AppendData(buffer.AsSpan(0, length));
            await _stored.WriteAsync(new Chunk(buffer, length), _stop.Token);
            isHandedOn = true;
            return (length, broken);
        }
        finally
        {
            if (!isHandedOn)
                _memory.Return(buffer);
        }
    }

    private void Inflate()
    {
        Exception? error = null;
        try
        {
            using var stored = new ChunkQueueStream(_stored, _memory, _stop.Token);
            using var archive = Inflaters.Open(stored, waitForTurn: () => _turn.Task.Wait(_stop.Token));
            while (InflateChunk(archive))
            {
                // Until its end; the queue says when to pause.
            }
            // The last members may be padding an inflater does not look at; the digest covers them.
            while (!stored.Peek().IsEmpty)
                stored.ReadExactly(new byte[Math.Min(stored.Peek().Length, ChunkQueue.ChunkSize)]);
        }
        catch (InvalidDataException e)
        {
            error = new ImageException("image-invalid", $"layer {_layer.Name} is not compressed as it says: {e.Message}", e);
        }
        catch (Exception e)
        {
            error = e;
        }
        _archive.Complete(error);
    }

    /// <returns>False at the end.</returns>
    private bool InflateChunk(Stream archive)
    {
        var buffer = _memory.Rent();
        var isHandedOn = false;
        try
        {
            var length = archive.ReadAtLeast(buffer.AsSpan(0, ChunkQueue.ChunkSize), ChunkQueue.ChunkSize, throwOnEndOfStream: false);
            if (length == 0)
                return false;
            _budget.Take(length);
            _archive.Write(new Chunk(buffer, length), _stop.Token);
            return isHandedOn = true;
        }
        finally
        {
            if (!isHandedOn)
                _memory.Return(buffer);
        }
    }
}

/// <summary>Uncompressed bytes all layers of one image may have together.</summary>
internal sealed class LayerBudget(long limit)
{
    private long _used;

    public void Take(int count)
    {
        if (Interlocked.Add(ref _used, count) > limit)
            throw new ImageException("image-invalid", $"the image's layers unpack to over {limit} bytes");
    }
}
