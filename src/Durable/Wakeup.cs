namespace Ravel.Durable;

/// <summary>
/// A wake-up call that coalesces: any number of <see cref="Set"/> before one wait end that wait once, and a call made while
/// nobody waits is not lost. One waiter at a time.
/// </summary>
public sealed class Wakeup : IDisposable
{
    private readonly SemaphoreSlim _pending = new(0, 1);
    private int _isSet;

    public void Set()
    {
        if (Interlocked.Exchange(ref _isSet, 1) == 0)
            _pending.Release();
    }

    /// <summary>Returns at the next <see cref="Set"/>, or after <paramref name="limit"/>, whichever is first.</summary>
    public async Task WaitAsync(TimeSpan limit, TimeProvider time, CancellationToken cancellationToken)
    {
        using var deadline = new CancellationTokenSource(limit, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            await WaitAsync(either.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // The limit passed: as good as a call.
        }
    }

    public async Task WaitAsync(CancellationToken cancellationToken)
    {
        await _pending.WaitAsync(cancellationToken);
        // Cleared before the caller looks at the world: a call from here on is about something it may not see.
        Volatile.Write(ref _isSet, 0);
    }

    public void Dispose() => _pending.Dispose();
}
