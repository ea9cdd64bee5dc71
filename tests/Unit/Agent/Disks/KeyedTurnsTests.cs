using Ravel.Agent.Disks;

namespace Ravel.Unit.Agent.Disks;

public sealed class KeyedTurnsTests
{
    private readonly KeyedTurns<string> _turns = new(StringComparer.Ordinal);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task One_key_has_one_holder_and_another_key_another()
    {
        var first = await _turns.EnterAsync(["a"], Cancellation);
        using var other = await _turns.EnterAsync(["b"], Cancellation);
        var second = _turns.EnterAsync(["a"], Cancellation);
        Assert.False(second.IsCompleted);
        first.Dispose();
        (await second).Dispose();
    }

    [Fact]
    public async Task Whoever_gives_up_waiting_holds_nothing()
    {
        var first = await _turns.EnterAsync(["b"], Cancellation);
        using var impatience = new CancellationTokenSource();
        var second = _turns.EnterAsync(["b", "a"], impatience.Token);
        await impatience.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => second);
        (await _turns.EnterAsync(["a"], Cancellation)).Dispose();
        first.Dispose();
        (await _turns.EnterAsync(["a", "b"], Cancellation)).Dispose();
    }

    [Fact]
    public async Task Keys_in_any_order_never_wait_for_each_other_for_ever()
    {
        var held = 0;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(i => Task.Run(async () =>
        {
            for (var n = 0; n < 200; n++)
            {
                using var turn = await _turns.EnterAsync(i % 2 == 0 ? ["a", "b", "a"] : ["b", "a"], Cancellation);
                Assert.Equal(1, Interlocked.Increment(ref held));
                Interlocked.Decrement(ref held);
            }
        })));
    }
}
