namespace Ravel.Agent.Logs;

/// <summary>How much of a machine's output is kept: <see cref="MaxSegments"/> files of <see cref="SegmentBytes"/>.</summary>
public sealed record LogOptions
{
    public long SegmentBytes { get; init; } = 10 * 1024 * 1024;

    public int MaxSegments { get; init; } = 3;
}
