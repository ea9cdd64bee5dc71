using System.Net;
using CsCheck;
using Microsoft.Extensions.Time.Testing;
using Ravel.Images;
using Ravel.Images.Registry;

namespace Ravel.Unit.Images;

/// <summary>Decisions of the registry client that need no registry.</summary>
public sealed class RegistryRulesTests
{
    private const string Odd = " \t,=\"\\aB;é\0";

    private static readonly RegistryOptions Options = new() { PlainHttpRegistries = ["plain.example:80", "any.example"] };

    [Theory]
    [InlineData("127.0.0.1:5000", "http://127.0.0.1:5000/")]
    [InlineData("127.8.9.1", "http://127.8.9.1/")]
    [InlineData("localhost:5000", "http://localhost:5000/")]
    [InlineData("[::1]:5000", "http://[::1]:5000/")]
    [InlineData("plain.example:80", "http://plain.example/")]
    [InlineData("any.example:5000", "http://any.example:5000/")]
    [InlineData("plain.example:81", "https://plain.example:81/")]
    [InlineData("localhost.example", "https://localhost.example/")]
    [InlineData("127.0.0.1.example", "https://127.0.0.1.example/")]
    [InlineData("docker.io", "https://registry-1.docker.io/")]
    public void Only_loopback_and_named_registries_are_spoken_to_without_tls(string registry, string address) =>
        Assert.Equal(address, RegistryEndpoint.Of(registry, Options).ToString());

    [Fact]
    public void A_bearer_challenge_is_taken_apart()
    {
        var challenge = Assert.Single(AuthenticationChallenge.Parse(
            "Bearer realm=\"https://auth.example/token?x=1,2\",service=\"registry \\\"x\\\"\", scope=\"repository:a/b:pull\",error=invalid_token"));
        Assert.Equal("bearer", challenge.Scheme);
        Assert.Equal("https://auth.example/token?x=1,2", challenge.Parameters["REALM"]);
        Assert.Equal("registry \"x\"", challenge.Parameters["service"]);
        Assert.Equal("invalid_token", challenge.Parameters["error"]);
    }

    [Theory]
    [InlineData("Basic", "basic")]
    [InlineData("Basic realm=\"unclosed", "basic")]
    [InlineData("Bearer ,,,=,=", "bearer")]
    [InlineData("Negotiate abc==", "negotiate")]
    public void Odd_challenges_do_no_harm(string header, string scheme) =>
        Assert.Equal(scheme, AuthenticationChallenge.Parse(header)[0].Scheme);

    [Fact]
    public void Challenges_in_one_header_are_told_apart()
    {
        var challenges = AuthenticationChallenge.Parse("Negotiate, Basic realm=\"a, b\", Bearer realm = \"https://c.example\" , service=d");
        Assert.Equal(["negotiate", "basic", "bearer"], challenges.Select(challenge => challenge.Scheme));
        Assert.Equal("a, b", challenges[1].Parameters["realm"]);
        Assert.Equal("https://c.example", challenges[2].Parameters["realm"]);
        Assert.Equal("d", challenges[2].Parameters["service"]);
    }

    [Fact]
    public void Any_header_is_read_to_its_end() =>
        Gen.Int[0, Odd.Length - 1].Array[0, 40].Select(picks => new string([.. picks.Select(pick => Odd[pick])]))
            .Sample(header => Assert.True(AuthenticationChallenge.Parse(header).Count <= header.Length));

    [Theory]
    [InlineData("https://r.example", "https://storage.example/x", true)]
    [InlineData("https://r.example", "http://storage.example/x", false)]
    [InlineData("https://r.example", "http://any.example:81/x", true)]
    [InlineData("https://r.example", "http://127.0.0.1:8500/x", false)]
    [InlineData("https://r.example", "https://127.0.0.1:8500/x", false)]
    [InlineData("https://r.example", "https://localhost./x", false)]
    [InlineData("https://r.example", "https://a.localhost/x", false)]
    [InlineData("https://r.example", "https://0.0.0.0:8500/x", false)]
    [InlineData("https://r.example", "https://[::]:8500/x", false)]
    [InlineData("https://r.example", "https://[::ffff:127.0.0.2]:8500/x", false)]
    [InlineData("https://127.0.0.1:5000", "https://localhost:8500/x", true)]
    [InlineData("https://r.example", "http://169.254.169.254/latest", false)]
    [InlineData("http://127.0.0.1:5000", "http://127.0.0.1:8500/x", true)]
    [InlineData("http://127.0.0.1:5000", "http://r.example/x", false)]
    [InlineData("https://r.example", "ftp://storage.example/x", false)]
    [InlineData("https://r.example", "file:///etc/passwd", false)]
    public void A_registry_sends_us_nowhere_it_has_no_business(string from, string to, bool may) =>
        Assert.Equal(may, RegistryEndpoint.MaySendTo(new Uri(from), new Uri(to), Options));

    [Theory]
    [InlineData("https://r.example", "192.0.2.1", true)]
    [InlineData("https://r.example", "10.0.0.1", true)]
    [InlineData("https://r.example", "127.0.0.1", false)]
    [InlineData("https://r.example", "::1", false)]
    [InlineData("https://r.example", "::ffff:127.0.0.1", false)]
    [InlineData("https://r.example", "0.1.2.3", false)]
    [InlineData("https://r.example", "169.254.169.254", false)]
    [InlineData("https://r.example", "::ffff:169.254.169.254", false)]
    [InlineData("https://r.example", "fe80::1", false)]
    [InlineData("https://r.example", "fd00:ec2::254", false)]
    [InlineData("https://r.example", "224.0.0.1", false)]
    [InlineData("https://127.0.0.1:5000", "127.0.0.1", true)]
    [InlineData("https://localhost:5000", "::1", true)]
    [InlineData("https://localhost:5000", "169.254.169.254", false)]
    [InlineData("https://169.254.169.254", "169.254.169.254", false)]
    [InlineData("https://named.example:5000", "127.0.0.1", true)]
    [InlineData("https://mirror.example", "127.0.0.1", true)]
    public void A_name_leads_to_no_address_of_this_host_or_link_unless_the_operator_named_it(string to, string address, bool may) =>
        Assert.Equal(
            may,
            RegistryEndpoint.MayConnect(
                new Uri(to),
                IPAddress.Parse(address),
                new RegistryOptions
                {
                    TlsRegistries = ["named.example:5000"],
                    Mirrors = new Dictionary<string, IReadOnlyList<RegistryMirror>> { ["docker.io"] = [new RegistryMirror("mirror.example", "")] },
                }));

    [Fact]
    public async Task What_leads_there_is_refused_before_it_is_connected_to_and_for_good()
    {
        using var connections = new RegistryConnections(Options);
        var address = new Uri("https://169.254.169.254/v2/");
        var error = await Assert.ThrowsAsync<HttpRequestException>(() => connections.For(address).GetAsync(address, TestContext.Current.CancellationToken));
        Assert.False(RegistryFailure.IsTransient(error));
        Assert.StartsWith(
            "169.254.169.254 is 169.254.169.254 here, an address of this host or link; if that is meant, name it in",
            RegistryFailure.Explain(error, "169.254.169.254", Options),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("https://index.docker.io/v1/", "docker.io", true)]
    [InlineData("127.0.0.1:5000", "127.0.0.1:5000", true)]
    [InlineData("http://Registry.example/v2/", "registry.example", true)]
    [InlineData("registry.example", "evil-registry.example", false)]
    [InlineData("registry.example:5000", "registry.example", false)]
    public void Credentials_are_for_their_own_registry_only(string key, string registry, bool isFor) =>
        Assert.Equal(isFor, DockerCredentials.IsFor(key, registry));

    [Fact]
    public void Pauses_double_stay_bounded_and_follow_the_registry()
    {
        Assert.Equal(TimeSpan.FromMilliseconds(500), RegistryRetry.Delay(Options, 1, null, 0.5));
        Assert.Equal(TimeSpan.FromMilliseconds(2000), RegistryRetry.Delay(Options, 3, null, 0.5));
        Assert.Equal(Options.MaxRetryDelay, RegistryRetry.Delay(Options, 1000, null, 0.5));
        Assert.Equal(TimeSpan.FromSeconds(7), RegistryRetry.Delay(Options, 1, TimeSpan.FromSeconds(7), 0.5));
        Assert.Equal(Options.MaxRetryDelay, RegistryRetry.Delay(Options, 1, TimeSpan.FromDays(7), 0.5));
        Assert.Equal(TimeSpan.FromMilliseconds(500), RegistryRetry.Delay(Options, 1, TimeSpan.FromSeconds(-7), 0.5));
    }

    [Theory]
    [InlineData(2 * 1024, false)]
    [InlineData(7 * 1024, false)]
    [InlineData(9 * 1024, true)]
    public async Task A_body_that_keeps_coming_but_too_slowly_for_its_size_is_a_stall(int bytesPerSecond, bool comes)
    {
        var time = new FakeTimeProvider();
        const long Size = 64L << 20;
        // Each read waits as long as a whole step takes at this rate, which is within the limit for one.
        await using var body = new StallGuardStream(
            new SlowBody(Size, 64 * 1024, TimeSpan.FromSeconds(64.0 * 1024 / bytesPerSecond), time), new HttpResponseMessage(), TimeSpan.FromSeconds(60), time, "r.example");
        var buffer = new byte[64 * 1024];
        long received = 0;
        var end = await Record.ExceptionAsync(async () =>
        {
            for (int read; (read = await body.ReadAsync(buffer, TestContext.Current.CancellationToken)) > 0;)
                received += read;
        });
        if (comes)
        {
            Assert.Null(end);
            Assert.Equal(Size, received);
            return;
        }
        Assert.Contains("under 8 KiB a second", Assert.IsType<TimeoutException>(end).Message);
        Assert.InRange(received, 5 * 60 * bytesPerSecond / 2, 6 * 60 * bytesPerSecond);
    }

    [Theory]
    [InlineData(HttpStatusCode.TooManyRequests, true)]
    [InlineData(HttpStatusCode.BadGateway, true)]
    [InlineData(HttpStatusCode.NotFound, false)]
    [InlineData(HttpStatusCode.Forbidden, false)]
    public void Only_what_passes_by_itself_is_tried_again(HttpStatusCode status, bool again) =>
        Assert.Equal(again, RegistryRetry.IsTransient(status));

    private sealed class SlowBody(long size, int step, TimeSpan pause, FakeTimeProvider time) : MemoryStream
    {
        private long _left = size;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_left > 0)
                time.Advance(pause);
            var read = (int)Math.Min(Math.Min(_left, step), buffer.Length);
            _left -= read;
            return ValueTask.FromResult(read);
        }
    }
}
