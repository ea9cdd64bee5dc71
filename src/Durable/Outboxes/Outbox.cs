using System.Runtime.CompilerServices;

namespace Ravel.Durable.Outboxes;

/// <summary>
/// Reads the events that transactions left in an outbox: all after a sequence number, then new ones as they are committed.
/// Delivery is at least once and in order; a reader drops what it has seen (its sequence number says so).
/// </summary>
public sealed class Outbox<TEvent>
{
    private const int BatchSize = 256;

    private readonly IOutboxStore<TEvent> _store;
    private readonly Lock _lock = new();
    private TaskCompletionSource _appended = NewSignal();

    public Outbox(IOutboxStore<TEvent> store) => _store = store;

    /// <summary>Call after a transaction that appended was committed; wakes every reader.</summary>
    public void Appended()
    {
        TaskCompletionSource signal;
        lock (_lock)
            (signal, _appended) = (_appended, NewSignal());
        signal.SetResult();
    }

    /// <summary>Forgets what is acknowledged, then returns every later event; ends only by cancellation.</summary>
    public async IAsyncEnumerable<OutboxEntry<TEvent>> WatchAsync(
        ulong acknowledged,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await _store.ForgetAsync(acknowledged, cancellationToken);
        var last = acknowledged;
        while (true)
        {
            Task appended;
            lock (_lock)
                appended = _appended.Task;
            // Read after taking the signal: an event committed in between is either read now or signalled.
            var entries = await _store.ReadAfterAsync(last, BatchSize, cancellationToken);
            foreach (var entry in entries)
            {
                yield return entry;
                last = entry.Sequence;
            }
            if (entries.Count == 0)
                await appended.WaitAsync(cancellationToken);
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>Where the events lie: a table in the same database as the state they tell of, so that one transaction writes both.</summary>
public interface IOutboxStore<TEvent>
{
    /// <summary>Events with a greater sequence number, in order, at most <paramref name="limit"/>.</summary>
    Task<IReadOnlyList<OutboxEntry<TEvent>>> ReadAfterAsync(ulong sequence, int limit, CancellationToken cancellationToken);

    /// <summary>Removes events up to and including <paramref name="sequence"/>. Numbers are never given again.</summary>
    Task ForgetAsync(ulong sequence, CancellationToken cancellationToken);
}

/// <param name="Sequence">Grows by commit order, from 1; gaps are possible.</param>
/// <param name="Event">What happened.</param>
public sealed record OutboxEntry<TEvent>(ulong Sequence, TEvent Event);
