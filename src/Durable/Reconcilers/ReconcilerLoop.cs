namespace Ravel.Durable.Reconcilers;

/// <summary>
/// Runs one reconciler: a pass at once, then a pass at every <see cref="Signal"/> and at the latest after the interval, so that a
/// lost signal costs time and nothing else. A pass takes no payload: it observes, plans and applies. Passes never overlap. A pass
/// that throws is reported and tried again after a back-off; the loop itself ends only by cancellation.
/// </summary>
public sealed class ReconcilerLoop : IDisposable
{
    private readonly Func<CancellationToken, Task> _pass;
    private readonly TimeSpan _interval;
    private readonly BackoffPolicy _backoff;
    private readonly TimeProvider _time;
    private readonly Action<Exception> _onFault;
    private readonly Wakeup _wakeup = new();

    /// <param name="pass">One look at the world.</param>
    /// <param name="interval">Longest time between two passes.</param>
    /// <param name="backoff">Time to the next pass after failures in a row. Signals do not shorten it.</param>
    /// <param name="time">The clock.</param>
    /// <param name="onFault">Told of every pass that threw.</param>
    public ReconcilerLoop(
        Func<CancellationToken, Task> pass,
        TimeSpan interval,
        BackoffPolicy backoff,
        TimeProvider time,
        Action<Exception> onFault)
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(interval, TimeSpan.Zero);
        _pass = pass;
        _interval = interval;
        _backoff = backoff;
        _time = time;
        _onFault = onFault;
    }

    /// <summary>Asks for a pass soon. Coalesced, callable from anywhere, also before <see cref="RunAsync"/>.</summary>
    public void Signal() => _wakeup.Set();

    /// <summary>Returns when cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var failures = 0;
        try
        {
            while (!cancellationToken.IsCancellationRequested)
            {
                try
                {
                    await _pass(cancellationToken);
                    failures = 0;
                }
                catch (Exception e) when (!cancellationToken.IsCancellationRequested)
                {
                    failures++;
                    _onFault(e);
                }

                if (failures == 0)
                    await _wakeup.WaitAsync(_interval, _time, cancellationToken);
                else
                    await Task.Delay(_backoff.DelayAfter(failures), _time, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The way this loop ends.
        }
    }

    public void Dispose() => _wakeup.Dispose();
}
