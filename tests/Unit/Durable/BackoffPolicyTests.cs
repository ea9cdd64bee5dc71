using Ravel.Durable;

namespace Ravel.Unit.Durable;

public sealed class BackoffPolicyTests
{
    private readonly BackoffPolicy _policy = new(TimeSpan.FromSeconds(1), 2, TimeSpan.FromSeconds(10));

    [Theory]
    [InlineData(-1, 0)]
    [InlineData(0, 0)]
    [InlineData(1, 1)]
    [InlineData(2, 2)]
    [InlineData(4, 8)]
    [InlineData(5, 10)]
    [InlineData(int.MaxValue, 10)]
    public void The_delay_grows_with_the_failures_up_to_the_longest(int failures, int seconds) =>
        Assert.Equal(TimeSpan.FromSeconds(seconds), _policy.DelayAfter(failures));
}
