namespace Ravel.Durable;

/// <summary>
/// How long to wait after the n-th failure in a row: <paramref name="First"/>, then <paramref name="Factor"/> times as long each
/// time, at most <paramref name="Longest"/>.
/// </summary>
public sealed record BackoffPolicy(TimeSpan First, double Factor, TimeSpan Longest)
{
    /// <summary>For loops that talk to something near: 0.5 s doubling to 1 min.</summary>
    public static BackoffPolicy Default { get; } = new(TimeSpan.FromSeconds(0.5), 2, TimeSpan.FromMinutes(1));

    /// <param name="failures">Failures in a row so far; zero or less waits not at all.</param>
    public TimeSpan DelayAfter(int failures)
    {
        if (failures <= 0)
            return TimeSpan.Zero;
        // Compared as a double: the power overflows a TimeSpan long before it overflows a double.
        var ticks = First.Ticks * Math.Pow(Factor, failures - 1);
        return ticks >= Longest.Ticks ? Longest : TimeSpan.FromTicks((long)ticks);
    }
}
