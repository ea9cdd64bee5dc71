namespace Ravel.ControlPlane.Recovery;

/// <summary>
/// For how long nothing was heard of each node, told from marks that change while somebody hears of it. Only running time of this process between
/// two readings counts, and of a long gap between them (the database was away, the process slept) only the usual part: clocks that jump make
/// no node silent, and neither does a server that could not look.
/// </summary>
internal sealed class NodeSilence(TimeProvider time, TimeSpan longestStep)
{
    private readonly Dictionary<string, (long Mark, TimeSpan At)> _heard = new(StringComparer.Ordinal);
    private TimeSpan _watched;
    private long? _lastRead;

    /// <summary>Takes a reading: every node with its mark. Those not in it are forgotten.</summary>
    /// <param name="marks">By node.</param>
    /// <param name="isHere">Nodes that answer this server now, whatever their mark.</param>
    public void Read(IReadOnlyDictionary<string, long> marks, Func<string, bool> isHere)
    {
        var now = time.GetTimestamp();
        if (_lastRead is { } last)
        {
            var step = time.GetElapsedTime(last, now);
            _watched += step < longestStep ? step : longestStep;
        }
        _lastRead = now;
        foreach (var (id, mark) in marks)
        {
            if (isHere(id) || !_heard.TryGetValue(id, out var before) || before.Mark != mark)
                _heard[id] = (mark, _watched);
        }
        foreach (var gone in _heard.Keys.Where(id => !marks.ContainsKey(id)).ToList())
            _heard.Remove(gone);
    }

    /// <summary>Those silent for at least so long, with the mark they had.</summary>
    public IReadOnlyList<(string Id, long Mark)> For(TimeSpan limit) =>
        [.. _heard.Where(h => _watched - h.Value.At >= limit).Select(h => (h.Key, h.Value.Mark))];
}
