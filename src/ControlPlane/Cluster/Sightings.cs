namespace Ravel.ControlPlane.Cluster;

/// <summary>
/// Who is there, told from numbers that grow while they are: someone whose number stays the same for too long is away. Only time that passed
/// in this process between readings counts, and of one gap only a part of what makes somebody vanish: so neither clocks that differ or
/// jump nor a database that was away make anybody vanish.
/// </summary>
internal sealed class Sightings(TimeProvider time, TimeSpan lostAfter)
{
    private readonly Dictionary<string, (long Beat, TimeSpan At)> _seen = new(StringComparer.Ordinal);
    private TimeSpan _observed;
    private long? _lastRead;

    /// <summary>Takes what was read: everyone there is, each with their number. Who is not in it is forgotten.</summary>
    public void Read(IEnumerable<KeyValuePair<string, long>> beats)
    {
        var now = time.GetTimestamp();
        if (_lastRead is { } last)
        {
            var step = time.GetElapsedTime(last, now);
            _observed += step < lostAfter / 2 ? step : lostAfter / 2;
        }
        _lastRead = now;
        var present = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (id, beat) in beats)
        {
            present.Add(id);
            if (!_seen.TryGetValue(id, out var before) || before.Beat != beat)
                _seen[id] = (beat, _observed);
        }
        foreach (var gone in _seen.Keys.Where(id => !present.Contains(id)).ToList())
            _seen.Remove(gone);
    }

    public bool IsHere(string id) => SilenceOf(id) is { } silence && silence < lostAfter;

    /// <summary>For how long nothing was heard of someone; null when nothing ever was.</summary>
    public TimeSpan? SilenceOf(string id) => _seen.TryGetValue(id, out var last) ? _observed - last.At : null;
}
