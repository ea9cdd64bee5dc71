namespace Ravel.Agent.Joining;

/// <summary>
/// The servers an agent knows and the one it speaks with. One that fails is left for the next, in an order of each agent's own, so that those of
/// a dead server spread over all others; only after all have failed is there a wait, which grows and is never the same for two agents.
/// </summary>
internal sealed class ServerList(Random random)
{
    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LongestDelay = TimeSpan.FromSeconds(5);

    private List<string> _servers = [];
    private int _current;
    private int _failures;

    /// <summary>Null when none is known.</summary>
    public string? Current => _servers.Count == 0 ? null : _servers[_current];

    public IReadOnlyList<string> Servers => _servers;

    /// <summary>The servers there are, said by one of them. The one spoken with stays the one, as long as it is among them.</summary>
    /// <returns>Whether they are others than before.</returns>
    public bool Update(IEnumerable<string> servers)
    {
        var told = servers.Distinct(StringComparer.Ordinal).ToList();
        if (told.Count == 0 || told.ToHashSet(StringComparer.Ordinal).SetEquals(_servers))
            return false;
        var current = Current;
        var shuffled = told.ToArray();
        random.Shuffle(shuffled);
        _servers = [.. shuffled];
        _current = Math.Max(0, current is null ? 0 : _servers.IndexOf(current));
        return true;
    }

    public void Answered() => _failures = 0;

    /// <summary>The current one failed: the next is current.</summary>
    /// <returns>How long to wait before it is asked.</returns>
    public TimeSpan Failed()
    {
        if (_servers.Count == 0)
            return LongestDelay;
        _current = (_current + 1) % _servers.Count;
        _failures++;
        // A little even before the first other: the agents of a dead server do not arrive there all at once.
        var rounds = (_failures - 1) / _servers.Count;
        var longest = TimeSpan.FromTicks(Math.Min(LongestDelay.Ticks, FirstDelay.Ticks << Math.Min(rounds, 10)));
        return longest * (0.5 + random.NextDouble() / 2);
    }
}
