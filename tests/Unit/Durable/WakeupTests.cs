using Microsoft.Extensions.Time.Testing;
using Ravel.Durable;

namespace Ravel.Unit.Durable;

public sealed class WakeupTests
{
    [Fact]
    public async Task A_call_before_the_wait_ends_it_at_once()
    {
        using var wakeup = new Wakeup();
        wakeup.Set();
        await wakeup.WaitAsync(CancellationToken.None);
    }

    [Fact]
    public async Task Several_calls_end_one_wait_only()
    {
        using var wakeup = new Wakeup();
        wakeup.Set();
        wakeup.Set();
        await wakeup.WaitAsync(CancellationToken.None);

        var second = wakeup.WaitAsync(CancellationToken.None);
        Assert.False(second.IsCompleted);
        wakeup.Set();
        await second;
    }

    [Fact]
    public async Task A_wait_ends_when_its_limit_has_passed()
    {
        var time = new FakeTimeProvider();
        using var wakeup = new Wakeup();
        var wait = wakeup.WaitAsync(TimeSpan.FromSeconds(5), time, CancellationToken.None);

        time.Advance(TimeSpan.FromSeconds(4));
        Assert.False(wait.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(1));
        await wait;
    }

    [Fact]
    public async Task A_call_after_a_wait_that_ran_out_is_not_lost()
    {
        var time = new FakeTimeProvider();
        using var wakeup = new Wakeup();
        var wait = wakeup.WaitAsync(TimeSpan.FromSeconds(5), time, CancellationToken.None);
        time.Advance(TimeSpan.FromSeconds(5));
        await wait;

        wakeup.Set();
        await wakeup.WaitAsync(CancellationToken.None);
    }

    [Fact]
    public async Task Cancellation_is_thrown_and_not_taken_for_the_limit()
    {
        using var wakeup = new Wakeup();
        using var cancellation = new CancellationTokenSource();
        var wait = wakeup.WaitAsync(TimeSpan.FromSeconds(5), new FakeTimeProvider(), cancellation.Token);
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => wait);
    }
}
