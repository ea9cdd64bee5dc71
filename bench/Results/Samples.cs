namespace Ravel.Bench.Results;

/// <summary>What was measured of one contestant.</summary>
internal sealed class Samples
{
    private readonly List<TimeSpan> _values;

    public Samples(string name, IEnumerable<TimeSpan> values)
    {
        Name = name;
        _values = [.. values];
    }

    public string Name { get; }

    public int Count => _values.Count;

    public TimeSpan Minimum => _values.Min();

    public TimeSpan Maximum => _values.Max();

    /// <summary>The middle value, or the mean of the two in the middle.</summary>
    public TimeSpan Median
    {
        get
        {
            var sorted = _values.Order().ToList();
            return (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
        }
    }

    public void Add(TimeSpan value) => _values.Add(value);

    /// <summary>This median over another's: 1.2 means a fifth slower.</summary>
    public double RatioTo(Samples baseline) => Median / baseline.Median;
}
