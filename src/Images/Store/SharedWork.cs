namespace Ravel.Images.Store;

/// <summary>
/// Runs work that many ask for once: all who come while it runs wait for the same result, or the same failure, and who comes
/// later starts afresh. It is cancelled when the last of them has gone.
/// </summary>
/// <typeparam name="TResult">Disposed when all who waited for it have taken what they need.</typeparam>
internal sealed class SharedWork<TResult>
    where TResult : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Flight> _flights = new(StringComparer.Ordinal);

    /// <param name="owned">What the work uses: disposed after it, or at once when other work already serves the key.</param>
    /// <param name="take">Makes the caller's own result out of the shared one, which is gone afterwards.</param>
    public async Task<TOwn> RunAsync<TOwn>(
        string key, Func<IProgress<ImageProgress>, CancellationToken, Task<TResult>> work,
        IAsyncDisposable? owned, IProgress<ImageProgress>? progress, Func<TResult, TOwn> take, CancellationToken cancellationToken)
    {
        Flight flight;
        var isNew = false;
        lock (_lock)
        {
            if (!_flights.TryGetValue(key, out flight!))
            {
                isNew = true;
                flight = new Flight();
                _flights[key] = flight;
            }
            flight.Waiters++;
            flight.Audience.Add(progress);
            if (isNew)
                flight.Result = Task.Run(() => FlyAsync(key, flight, work, owned), CancellationToken.None);
        }
        if (!isNew && owned is not null)
            await owned.DisposeAsync();
        try
        {
            return take(await flight.Result.WaitAsync(cancellationToken));
        }
        finally
        {
            var isLast = false;
            var isAbandoned = false;
            lock (_lock)
            {
                flight.Audience.Remove(progress);
                isLast = --flight.Waiters == 0;
                if (isLast && !flight.Result.IsCompleted)
                {
                    // Whoever comes next starts afresh and does not inherit the cancellation.
                    Forget(key, flight);
                    isAbandoned = true;
                }
            }
            if (isAbandoned)
                await flight.Stop.CancelAsync();
            if (isLast)
                _ = ReleaseAsync(flight);
        }
    }

    private static async Task ReleaseAsync(Flight flight)
    {
        await ((Task)flight.Result).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (flight.Result.IsCompletedSuccessfully)
            flight.Result.Result.Dispose();
    }

    private async Task<TResult> FlyAsync(
        string key, Flight flight, Func<IProgress<ImageProgress>, CancellationToken, Task<TResult>> work, IAsyncDisposable? owned)
    {
        try
        {
            return await work(flight.Audience, flight.Stop.Token);
        }
        finally
        {
            lock (_lock)
                Forget(key, flight);
            if (owned is not null)
                await owned.DisposeAsync();
        }
    }

    private void Forget(string key, Flight flight)
    {
        if (_flights.TryGetValue(key, out var current) && ReferenceEquals(current, flight))
            _flights.Remove(key);
    }

    private sealed class Flight
    {
        /// <summary>Never disposed: a waiter may cancel it at any time, and it holds no timer or handle.</summary>
        public CancellationTokenSource Stop { get; } = new();

        public Audience Audience { get; } = new();

        public int Waiters { get; set; }

        public Task<TResult> Result { get; set; } = null!;
    }

    private sealed class Audience : IProgress<ImageProgress>
    {
        private IProgress<ImageProgress>[] _listeners = [];

        public void Add(IProgress<ImageProgress>? listener)
        {
            if (listener is not null)
                _listeners = [.. _listeners, listener];
        }

        public void Remove(IProgress<ImageProgress>? listener)
        {
            var index = Array.IndexOf(_listeners, listener);
            if (index >= 0)
                _listeners = [.. _listeners[..index], .. _listeners[(index + 1)..]];
        }

        public void Report(ImageProgress value)
        {
            foreach (var listener in Volatile.Read(ref _listeners))
                listener.Report(value);
        }
    }
}
