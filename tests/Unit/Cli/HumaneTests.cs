using Ravel.Cli.Output;

namespace Ravel.Unit.Cli;

public sealed class HumaneTests
{
    [Theory]
    [InlineData(0.2, "Less than a second")]
    [InlineData(1.5, "1 second")]
    [InlineData(59, "59 seconds")]
    [InlineData(61, "About a minute")]
    [InlineData(3 * 60 + 59, "3 minutes")]
    [InlineData(3600, "About an hour")]
    [InlineData(47 * 3600, "47 hours")]
    [InlineData(3 * 86400, "3 days")]
    [InlineData(30 * 86400, "4 weeks")]
    [InlineData(90 * 86400, "3 months")]
    [InlineData(800 * 86400, "2 years")]
    public void Durations_read_as_Dockers(double seconds, string text) => Assert.Equal(text, Humane.Duration(TimeSpan.FromSeconds(seconds)));

    [Theory]
    [InlineData(0, "0B")]
    [InlineData(999, "999B")]
    [InlineData(1000, "1.00kB")]
    [InlineData(12_345_678, "12.3MB")]
    [InlineData(123_456_789, "123MB")]
    [InlineData(999_600_000, "1.00GB")]
    [InlineData(long.MaxValue, "9223PB")]
    public void Sizes_have_three_digits(long bytes, string text) => Assert.Equal(text, Humane.Bytes(bytes));

    [Fact]
    public void A_clock_that_runs_behind_makes_no_negative_time() =>
        Assert.Equal("Less than a second ago", Humane.Ago(DateTimeOffset.UnixEpoch.AddSeconds(5), DateTimeOffset.UnixEpoch));
}
