namespace Ravel.Durable.Mailboxes;

/// <summary>
/// One mailbox per key. Work of one key runs one piece at a time, in the order it was handed in; different keys run at the same
/// time. A mailbox exists only while it has work, so any number of keys costs nothing at rest.
/// </summary>
/// <remarks>
/// Work must not wait for other work of its own key: that would wait for ever.
/// </remarks>
public sealed class KeyedMailboxes<TKey> : IAsyncDisposable
    where TKey : notnull
{
    private readonly int _capacity;
    private readonly Func<TKey, CancellationToken, Task> _onSignal;
    private readonly Action<TKey, Exception> _onFault;
    private readonly Dictionary<TKey, Box> _boxes = [];
    private readonly CancellationTokenSource _stopping = new();
    private readonly Lock _lock = new();
    private TaskCompletionSource? _drained;
    private bool _isStopping;

    /// <param name="capacity">Pieces of work that may wait in one mailbox; more are refused.</param>
    /// <param name="onSignal">What <see cref="Signal"/> runs.</param>
    /// <param name="onFault">Told of an exception from <paramref name="onSignal"/>; the mailbox goes on.</param>
    public KeyedMailboxes(int capacity, Func<TKey, CancellationToken, Task> onSignal, Action<TKey, Exception> onFault)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        _capacity = capacity;
        _onSignal = onSignal;
        _onFault = onFault;
    }

    /// <summary>Hands in work and waits for its result; its exception comes back here and does not harm the mailbox.</summary>
    /// <param name="key">Whose mailbox.</param>
    /// <param name="work">Gets a token that is cancelled when the mailboxes are disposed.</param>
    /// <param name="evenWhenFull">For work that must not be lost and is bounded by its sender.</param>
    /// <exception cref="MailboxFullException">As much work as fits is waiting already.</exception>
    public Task<TResult> RunAsync<TResult>(TKey key, Func<CancellationToken, Task<TResult>> work, bool evenWhenFull = false)
    {
        var completion = new TaskCompletionSource<TResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        Enqueue(
            key,
            async stopping =>
            {
                try
                {
                    stopping.ThrowIfCancellationRequested();
                    completion.SetResult(await work(stopping));
                }
                catch (OperationCanceledException e)
                {
                    completion.SetCanceled(e.CancellationToken);
                }
                catch (Exception e)
                {
                    completion.SetException(e);
                }
            },
            evenWhenFull);
        return completion.Task;
    }

    /// <summary>As <see cref="RunAsync{TResult}"/>, without a result.</summary>
    public Task RunAsync(TKey key, Func<CancellationToken, Task> work, bool evenWhenFull = false) =>
        RunAsync(
            key,
            async stopping =>
            {
                await work(stopping);
                return true;
            },
            evenWhenFull);

    /// <summary>
    /// Asks for a look at this key. Coalesced: until that look begins, further signals change nothing; a signal during the look leads
    /// to one more. Never refused; ignored after disposal.
    /// </summary>
    public void Signal(TKey key)
    {
        lock (_lock)
        {
            if (_isStopping)
                return;
            var box = BoxOf(key);
            if (box.IsSignalled)
                return;
            box.IsSignalled = true;
            box.Work.Enqueue(stopping => RunSignalAsync(key, box, stopping));
            StartIfIdle(key, box);
        }
    }

    /// <summary>Cancels what runs, drops what waits, and returns when nothing runs any more.</summary>
    public async ValueTask DisposeAsync()
    {
        Task drained;
        lock (_lock)
        {
            _isStopping = true;
            if (_boxes.Count > 0)
                _drained ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            drained = _drained?.Task ?? Task.CompletedTask;
        }
        await _stopping.CancelAsync();
        await drained;
    }

    private void Enqueue(TKey key, Func<CancellationToken, Task> work, bool evenWhenFull)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isStopping, this);
            var box = BoxOf(key);
            if (!evenWhenFull && box.Work.Count >= _capacity)
                throw new MailboxFullException($"{key} has {_capacity} requests waiting already; try again when they are done.");
            box.Work.Enqueue(work);
            StartIfIdle(key, box);
        }
    }

    private Box BoxOf(TKey key)
    {
        if (!_boxes.TryGetValue(key, out var box))
            _boxes.Add(key, box = new Box());
        return box;
    }

    private void StartIfIdle(TKey key, Box box)
    {
        if (box.IsRunning)
            return;
        box.IsRunning = true;
        _ = Task.Run(() => DrainAsync(key, box));
    }

    private async Task DrainAsync(TKey key, Box box)
    {
        while (true)
        {
            Func<CancellationToken, Task>? work;
            lock (_lock)
            {
                if (!box.Work.TryDequeue(out work))
                {
                    _boxes.Remove(key);
                    if (_boxes.Count == 0)
                        _drained?.TrySetResult();
                    return;
                }
            }
            await work(_stopping.Token);
        }
    }

    private async Task RunSignalAsync(TKey key, Box box, CancellationToken stopping)
    {
        lock (_lock)
            box.IsSignalled = false;
        if (stopping.IsCancellationRequested)
            return;
        try
        {
            await _onSignal(key, stopping);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // Going down.
        }
        catch (Exception e)
        {
            _onFault(key, e);
        }
    }

    private sealed class Box
    {
        public Queue<Func<CancellationToken, Task>> Work { get; } = new();

        public bool IsRunning { get; set; }

        public bool IsSignalled { get; set; }
    }
}

/// <summary>The sender is faster than the work; nothing was queued.</summary>
public sealed class MailboxFullException : Exception
{
    public MailboxFullException(string message)
        : base(message)
    {
    }
}
