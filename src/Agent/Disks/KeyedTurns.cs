namespace Ravel.Agent.Disks;

/// <summary>
/// Turns, one holder at a time for each key. Several keys are entered in one order, so that those who wait for each other's keys never
/// wait for ever.
/// </summary>
internal sealed class KeyedTurns<TKey>
    where TKey : notnull
{
    private readonly Lock _lock = new();
    private readonly Dictionary<TKey, Gate> _gates = [];
    private readonly IComparer<TKey> _order;

    /// <param name="order">The order in which keys are entered; total.</param>
    public KeyedTurns(IComparer<TKey> order) => _order = order;

    /// <summary>Waits until nobody else has any of the keys; disposing gives them back.</summary>
    /// <exception cref="OperationCanceledException">Nothing is held then.</exception>
    public async Task<IDisposable> EnterAsync(IEnumerable<TKey> keys, CancellationToken cancellationToken)
    {
        var turn = new Turn(this);
        try
        {
            foreach (var key in keys.Distinct().Order(_order))
            {
                var gate = Join(key);
                try
                {
                    await gate.Entry.WaitAsync(cancellationToken);
                }
                catch
                {
                    Leave(key, gate);
                    throw;
                }
                turn.Held.Add((key, gate));
            }
            return turn;
        }
        catch
        {
            turn.Dispose();
            throw;
        }
    }

    private Gate Join(TKey key)
    {
        lock (_lock)
        {
            if (!_gates.TryGetValue(key, out var gate))
                _gates.Add(key, gate = new Gate());
            gate.Users++;
            return gate;
        }
    }

    private void Leave(TKey key, Gate gate)
    {
        lock (_lock)
        {
            if (--gate.Users == 0)
                _gates.Remove(key);
        }
    }

    private sealed class Gate
    {
        /// <summary>Its wait handle is never made: nothing to dispose of.</summary>
        public SemaphoreSlim Entry { get; } = new(1);

        /// <summary>Holder and waiters.</summary>
        public int Users { get; set; }
    }

    private sealed class Turn(KeyedTurns<TKey> owner) : IDisposable
    {
        public List<(TKey Key, Gate Gate)> Held { get; } = [];

        public void Dispose()
        {
            foreach (var (key, gate) in Held)
            {
                gate.Entry.Release();
                owner.Leave(key, gate);
            }
            Held.Clear();
        }
    }
}
