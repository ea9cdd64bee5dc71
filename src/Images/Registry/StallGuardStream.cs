using Ravel.Images.Layers;

namespace Ravel.Images.Registry;

/// <summary>
/// A response body that must keep coming: when the next 64 KiB (or the end) take longer than the limit, reading fails
/// with <see cref="TimeoutException"/>. A trickle is a stall too, and so is what comes so slowly that it would hold a build for days.
/// </summary>
internal sealed class StallGuardStream : ReadOnlyStream
{
    private const int Step = 64 * 1024;

    /// <summary>On average, once <see cref="Patience"/> is over; a slow line shared by several layers has it.</summary>
    private const int MinBytesPerSecond = 8 * 1024;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private readonly Stream _inner;
    private readonly HttpResponseMessage _response;
    private readonly TimeSpan _limit;
    private readonly string _what;
    private readonly CancellationTokenSource _stall;
    private readonly TimeProvider _time;
    private TimeSpan _allowance;
    private TimeSpan _waited;
    private long _total;
    private int _received;

    public StallGuardStream(Stream inner, HttpResponseMessage response, TimeSpan limit, TimeProvider time, string what)
    {
        _inner = inner;
        _response = response;
        _limit = limit;
        _what = what;
        _time = time;
        _allowance = limit;
        _stall = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        // Only time spent waiting for the registry counts, not the pauses of whoever reads.
        var started = _time.GetTimestamp();
        _stall.CancelAfter(_allowance > TimeSpan.Zero ? _allowance : TimeSpan.Zero);
        using var link = cancellationToken.UnsafeRegister(static stall => ((CancellationTokenSource)stall!).Cancel(), _stall);
        try
        {
            var read = await _inner.ReadAsync(buffer, _stall.Token);
            _received += read;
            _total += read;
            var elapsed = _time.GetElapsedTime(started);
            _allowance -= elapsed;
            _waited += elapsed;
            if (read > 0 && _waited > Patience && _total < _waited.TotalSeconds * MinBytesPerSecond)
                throw new TimeoutException($"{_what} sent {_total} bytes in {_waited.TotalSeconds:0} s, which is under {MinBytesPerSecond / 1024} KiB a second");
            if (_received >= Step)
            {
                _received = 0;
                _allowance = _limit;
            }
            return read;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"{_what} sent less than {Step / 1024} KiB in {_limit.TotalSeconds:0} s");
        }
        finally
        {
            _stall.CancelAfter(Timeout.InfiniteTimeSpan);
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(Span<byte> buffer) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _inner.Dispose();
            _response.Dispose();
            _stall.Dispose();
        }
        base.Dispose(disposing);
    }
}
