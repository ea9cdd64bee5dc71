namespace Ravel.Bench.Results;

/// <summary>One way of doing the thing that is measured; returns how long the measured part of one run took.</summary>
internal sealed record Contestant(string Name, Func<CancellationToken, Task<TimeSpan>> MeasureAsync);

/// <summary>
/// Ways of doing the same thing, run in turn (A B A B …) so that all see the same noise of the machine. The last contestant is
/// what the others are held against.
/// </summary>
internal static class Comparison
{
    /// <param name="contestants">At least one; the last is the baseline.</param>
    /// <param name="rounds">Measured runs of each; one more of each goes before, unmeasured, to fill caches.</param>
    /// <param name="progress">A line for each run.</param>
    /// <param name="cancellationToken">Ends between two runs, or whatever run listens to it.</param>
    public static async Task<IReadOnlyList<Samples>> RunAsync(
        IReadOnlyList<Contestant> contestants, int rounds, TextWriter progress, CancellationToken cancellationToken)
    {
        var samples = contestants.Select(contestant => new Samples(contestant.Name, [])).ToList();
        for (var round = 0; round <= rounds; round++)
        {
            foreach (var (contestant, its) in contestants.Zip(samples))
            {
                cancellationToken.ThrowIfCancellationRequested();
                var taken = await contestant.MeasureAsync(cancellationToken);
                progress.WriteLine($"  {(round == 0 ? "warm-up" : $"round {round}"),-8} {contestant.Name,-28} {taken.TotalSeconds,8:0.000} s");
                if (round > 0)
                    its.Add(taken);
            }
        }
        return samples;
    }
}
