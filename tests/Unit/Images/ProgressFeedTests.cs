using Microsoft.Extensions.Time.Testing;
using Ravel.Images;

namespace Ravel.Unit.Images;

public sealed class ProgressFeedTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly ProgressFeed _feed;

    public ProgressFeedTests() => _feed = new ProgressFeed(_time);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_slow_reader_gets_the_last_of_each_layer_in_order()
    {
        _feed.Report(new ImageProgress("resolve"));
        for (var i = 0; i <= 10_000; i++)
        {
            _feed.Report(new ImageProgress("pull", "a", i, 10_000));
            _feed.Report(new ImageProgress("pull", "b", i, 10_000));
        }
        _feed.Report(new ImageProgress("build"));
        _feed.Complete();

        var steps = await ReadAsync();
        Assert.Equal(
            [("resolve", null, 0), ("pull", "a", 10_000), ("pull", "b", 10_000), ("build", null, 0)],
            steps.Select(step => (step.Phase, step.LayerDigest, step.ReceivedBytes)));
    }

    [Fact]
    public async Task A_fast_reader_gets_ten_steps_a_second()
    {
        await using var steps = _feed.ReadAllAsync(Cancellation).GetAsyncEnumerator(Cancellation);
        _feed.Report(new ImageProgress("pull", "a", 1, 3));
        Assert.True(await steps.MoveNextAsync());
        Assert.Equal(1, steps.Current.ReceivedBytes);

        _feed.Report(new ImageProgress("pull", "a", 2, 3));
        var next = steps.MoveNextAsync().AsTask();
        Assert.False(next.IsCompleted);
        _feed.Report(new ImageProgress("pull", "a", 3, 3));
        _time.Advance(ProgressFeed.Interval);
        Assert.True(await next);
        Assert.Equal(3, steps.Current.ReceivedBytes);

        // The end does not wait.
        next = steps.MoveNextAsync().AsTask();
        _feed.Complete();
        Assert.False(await next);
    }

    [Fact]
    public async Task Rates_follow_what_arrives()
    {
        _feed.Report(new ImageProgress("pull", "a", 0, 1_000_000));
        for (var i = 1; i <= 20; i++)
        {
            _time.Advance(TimeSpan.FromMilliseconds(500));
            _feed.Report(new ImageProgress("pull", "a", i * 500, 1_000_000));
        }
        _feed.Report(new ImageProgress("pull", "b", 0, 10));
        _feed.Complete();
        Assert.Equal([1000, 0], (await ReadAsync()).Select(step => step.BytesPerSecond));
    }

    [Fact]
    public async Task Whoever_goes_away_is_not_waited_for()
    {
        using var leaves = new CancellationTokenSource();
        await using var steps = _feed.ReadAllAsync(leaves.Token).GetAsyncEnumerator(Cancellation);
        var next = steps.MoveNextAsync().AsTask();
        await leaves.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => next);
        _feed.Report(new ImageProgress("build"));
    }

    private async Task<List<ImageProgress>> ReadAsync()
    {
        var steps = new List<ImageProgress>();
        await foreach (var step in _feed.ReadAllAsync(Cancellation))
            steps.Add(step);
        return steps;
    }
}
