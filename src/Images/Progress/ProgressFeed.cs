using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace Ravel.Images;

/// <summary>
/// The progress of one pull for one reader, who may be slow: what it did not read yet is brought up to date instead of kept,
/// so that memory is bounded by the layers, and nobody misses how a layer ended. Rates are measured here.
/// </summary>
/// <remarks>At most one step of a layer in <see cref="Interval"/>; steps come in the order in which they first happened.</remarks>
public sealed class ProgressFeed(TimeProvider time) : IProgress<ImageProgress>
{
    /// <summary>Faster than anybody reads, slower than blocks arrive.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    private readonly Lock _lock = new();
    private readonly Channel<bool> _news = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Dictionary<string, TransferRate> _rates = new(StringComparer.Ordinal);
    private List<ImageProgress> _pending = [];

    public void Report(ImageProgress value)
    {
        lock (_lock)
        {
            if (value.LayerDigest is { } layer)
            {
                if (!_rates.TryGetValue(layer, out var rate))
                    _rates[layer] = rate = new TransferRate(time);
                value = value with { BytesPerSecond = rate.Add(value.ReceivedBytes) };
                if (_pending.FindIndex(step => step.LayerDigest == layer) is >= 0 and var index)
                {
                    _pending[index] = value;
                    return;
                }
            }
            _pending.Add(value);
        }
        _news.Writer.TryWrite(true);
    }

    /// <summary>Nothing more follows; the reader gets what is left, and then the end.</summary>
    public void Complete()
    {
        _end.TrySetResult();
        _news.Writer.TryComplete();
    }

    public async IAsyncEnumerable<ImageProgress> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        for (var more = true; more;)
        {
            more = await _news.Reader.WaitToReadAsync(cancellationToken);
            _news.Reader.TryRead(out _);
            List<ImageProgress> steps;
            lock (_lock)
                (steps, _pending) = (_pending, []);
            foreach (var step in steps)
                yield return step;
            if (more && steps.Exists(step => step.LayerDigest is not null))
                await PauseAsync(cancellationToken);
        }
    }

    /// <summary>Lets steps come together, but does not hold up the end.</summary>
    private async Task PauseAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _end.Task.WaitAsync(Interval, time, cancellationToken);
        }
        catch (TimeoutException)
        {
            // The pause is over.
        }
    }
}

/// <summary>How fast bytes come at present: what the last half seconds brought, the later the weightier.</summary>
internal sealed class TransferRate(TimeProvider time)
{
    private const double WeightOfLast = 0.4;
    private static readonly TimeSpan Window = TimeSpan.FromMilliseconds(500);

    private long _since = time.GetTimestamp();
    private long _bytes = -1;
    private double _rate;
    private bool _measured;

    /// <param name="bytes">Received so far; the first call says where counting begins.</param>
    /// <returns>Bytes per second.</returns>
    public long Add(long bytes)
    {
        if (_bytes < 0)
            _bytes = bytes;
        var elapsed = time.GetElapsedTime(_since);
        if (elapsed <= TimeSpan.Zero)
            return (long)_rate;
        var present = Math.Max(0, bytes - _bytes) / elapsed.TotalSeconds;
        if (elapsed < Window)
            return (long)(_measured ? _rate : present);
        _rate = _measured ? (_rate * (1 - WeightOfLast)) + (present * WeightOfLast) : present;
        _measured = true;
        _bytes = bytes;
        _since = time.GetTimestamp();
        return (long)_rate;
    }
}
