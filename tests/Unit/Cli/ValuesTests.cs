using Ravel.Cli.Parsing;

namespace Ravel.Unit.Cli;

public sealed class ValuesTests
{
    private static readonly DateTimeOffset Now = new(2026, 3, 4, 5, 6, 7, TimeSpan.Zero);

    [Theory]
    [InlineData("512", 512)]
    [InlineData("512m", 512)]
    [InlineData("512MiB", 512)]
    [InlineData("1g", 1024)]
    [InlineData("1.5G", 1536)]
    [InlineData("2t", 2 * 1024 * 1024)]
    [InlineData("2048k", 2)]
    [InlineData("1.1m", 2)]
    public void A_size_is_mebibytes_unless_it_says_otherwise(string text, int mebibytes) =>
        Assert.Equal(mebibytes, Values.Mebibytes(text));

    [Theory]
    [InlineData("")]
    [InlineData("x")]
    [InlineData("-1")]
    [InlineData("1x")]
    [InlineData("1.2.3")]
    [InlineData("0")]
    [InlineData("9999999999999g")]
    [InlineData("1e3")]
    public void A_bad_size_is_refused(string text) => Assert.Throws<FormatException>(() => Values.Mebibytes(text));

    [Theory]
    [InlineData("10", 10)]
    [InlineData("0", 0)]
    [InlineData("1.5s", 1.5)]
    [InlineData("250ms", 0.25)]
    [InlineData("5m", 300)]
    [InlineData("1h30m", 5400)]
    [InlineData("2d", 172800)]
    public void A_duration_is_seconds_unless_it_says_otherwise(string text, double seconds) =>
        Assert.Equal(seconds, Values.Duration(text).TotalSeconds);

    [Theory]
    [InlineData("")]
    [InlineData("m")]
    [InlineData("10x")]
    [InlineData("1h30")]
    [InlineData("-5s")]
    [InlineData("99999999999999999999d")]
    public void A_bad_duration_is_refused(string text) => Assert.Throws<FormatException>(() => Values.Duration(text));

    [Theory]
    [InlineData("10m", "2026-03-04T04:56:07Z")]
    [InlineData("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z")]
    [InlineData("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z")]
    [InlineData("1767225600", "2026-01-01T00:00:00Z")]
    [InlineData("90", "2026-03-04T05:04:37Z")]
    public void Since_is_a_moment_or_how_long_ago(string text, string moment) =>
        Assert.Equal(DateTimeOffset.Parse(moment), Values.Since(text, Now));

    [Fact]
    public void Since_refuses_what_is_neither() => Assert.Throws<FormatException>(() => Values.Since("yesterday", Now));

    [Theory]
    [InlineData("8080:80", "tcp", null, 8080, 80)]
    [InlineData("8080:80/udp", "udp", null, 8080, 80)]
    [InlineData("8080:80/TCP", "tcp", null, 8080, 80)]
    [InlineData("127.0.0.1:5353:53/udp", "udp", "127.0.0.1", 5353, 53)]
    [InlineData("[::1]:8080:80", "tcp", "::1", 8080, 80)]
    public void A_port_is_read_as_Docker_writes_it(string text, string protocol, string? address, int host, int guest)
    {
        var port = Values.Port(text);

        Assert.Equal((protocol, address, host, guest), (port.Protocol, port.HostAddress, port.HostPort, port.GuestPort));
    }

    [Theory]
    [InlineData("")]
    [InlineData("x:80")]
    [InlineData("8080:")]
    [InlineData(":80")]
    [InlineData("80")]
    [InlineData("127.0.0.1::80")]
    [InlineData("0:80")]
    [InlineData("8080:0")]
    [InlineData("8080:65536")]
    [InlineData("8080:80/sctp")]
    [InlineData("host:8080:80")]
    [InlineData("1.2.3:1:2:3")]
    [InlineData("-1:80")]
    [InlineData("8000-8010:80")]
    public void A_bad_port_is_refused(string text) => Assert.Throws<FormatException>(() => Values.Port(text));

    [Fact]
    public void A_variable_has_a_value_or_takes_the_callers()
    {
        string? Own(string name) => name == "HOME" ? "/root" : null;

        Assert.Equal(new("A", "b=c"), Values.Variable("A=b=c", Own));
        Assert.Equal(new("A", ""), Values.Variable("A=", Own));
        Assert.Equal(new("HOME", "/root"), Values.Variable("HOME", Own));
        Assert.Null(Values.Variable("UNSET", Own));
        Assert.Throws<FormatException>(() => Values.Variable("=x", Own));
        Assert.Throws<FormatException>(() => Values.Variable("", Own));
    }

    [Theory]
    [InlineData("no", "no", null)]
    [InlineData("always", "always", null)]
    [InlineData("on-failure", "on-failure", null)]
    [InlineData("on-failure:3", "on-failure", 3)]
    public void A_restart_policy_may_have_a_limit(string text, string policy, int? retries)
    {
        var restart = Values.Restart(text);

        Assert.Equal((policy, retries), (restart.Policy, restart.MaxRetries));
    }

    [Theory]
    [InlineData("unless-stopped")]
    [InlineData("always:3")]
    [InlineData("on-failure:x")]
    public void A_bad_restart_policy_is_refused(string text) => Assert.Throws<FormatException>(() => Values.Restart(text));
}
