using System.Text.Json;
using Ravel.Contracts.Api;
using Ravel.ControlPlane;
using Ravel.ControlPlane.Images;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Tokens;

namespace Ravel.Unit.ControlPlane;

public sealed class RequestRulesTests
{
    [Theory]
    [InlineData("""{"image":"a b"}""", "config.image")]
    [InlineData("""{"image":"nginx","guest":{"cpus":0}}""", "config.guest.cpus")]
    [InlineData("""{"image":"nginx","guest":{"memory_mb":63}}""", "config.guest.memory_mb")]
    [InlineData("""{"image":"nginx","guest":{"cpu_kind":"quantum"}}""", "config.guest.cpu_kind")]
    [InlineData("""{"image":"nginx","guest":{"cpu_weight":0}}""", "config.guest.cpu_weight")]
    [InlineData("""{"image":"nginx","guest":{"cpu_limit":1.5}}""", "config.guest.cpu_limit")]
    [InlineData("""{"image":"nginx","guest":{"cpu_limit":0.001}}""", "config.guest.cpu_limit")]
    [InlineData("""{"image":"nginx","guest":{"disk_bps":1}}""", "config.guest.disk_bps")]
    [InlineData("""{"image":"nginx","guest":{"disk_iops":1}}""", "config.guest.disk_iops")]
    [InlineData("""{"image":"nginx","guest":{"net_bps":4000000001}}""", "config.guest.net_bps")]
    [InlineData("""{"image":"nginx","env":{"A=B":"1"}}""", "config.env")]
    [InlineData("""{"image":"nginx","env":{"A":null}}""", "config.env.A")]
    [InlineData("""{"image":"nginx","env":{"A":"x\u0000"}}""", "config.env.A")]
    [InlineData("""{"image":"nginx","init":{"exec":[]}}""", "config.init.exec")]
    [InlineData("""{"image":"nginx","init":{"cmd":["a",null]}}""", "config.init.cmd[1]")]
    [InlineData("""{"image":"nginx","init":{"working_dir":"tmp"}}""", "config.init.working_dir")]
    [InlineData("""{"image":"nginx","init":{"user":"a\nb"}}""", "config.init.user")]
    [InlineData("""{"image":"nginx","restart":{"policy":"sometimes"}}""", "config.restart.policy")]
    [InlineData("""{"image":"nginx","restart":{"max_retries":-1}}""", "config.restart.max_retries")]
    [InlineData("""{"image":"nginx","stop_config":{"signal":"SIGNOPE"}}""", "config.stop_config.signal")]
    [InlineData("""{"image":"nginx","stop_config":{"timeout":3601}}""", "config.stop_config.timeout")]
    [InlineData("""{"image":"nginx","metadata":{"":"x"}}""", "config.metadata")]
    [InlineData("""{"image":"nginx","published_ports":[{"host_port":0,"guest_port":80}]}""", "config.published_ports[0].host_port")]
    [InlineData("""{"image":"nginx","published_ports":[{"host_port":80,"guest_port":0}]}""", "config.published_ports[0].guest_port")]
    [InlineData("""{"image":"nginx","published_ports":[{"host_port":80,"guest_port":1},{"host_port":80,"guest_port":2}]}""", "config.published_ports[1].host_port")]
    [InlineData("""{"image":"nginx","published_ports":[{"host_port":80,"guest_port":1,"protocol":"sctp"}]}""", "config.published_ports[0].protocol")]
    [InlineData("""{"image":"nginx","published_ports":[{"host_port":80,"guest_port":1,"host_address":"localhost"}]}""", "config.published_ports[0].host_address")]
    [InlineData("""{"image":"nginx","published_ports":[null]}""", "config.published_ports[0]")]
    [InlineData("""{"image":"nginx","pull_policy":"maybe"}""", "config.pull_policy")]
    [InlineData("""{"image":"nginx","mounts":[{"volume":"v","path":"data"}]}""", "config.mounts[0].path")]
    [InlineData("""{"image":"nginx","services":[{"internal_port":80}]}""", "config.services")]
    public void A_refusal_names_the_field_as_the_caller_wrote_it(string json, string field)
    {
        var refusal = Assert.Throws<ProblemException>(() => MachineConfigRules.Check(Config(json)));
        Assert.Equal(ProblemCodes.InvalidRequest, refusal.Code);
        Assert.StartsWith(field + " ", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"image":"nginx"}""")]
    [InlineData("""{"image":"nginx","guest":{"cpus":32,"memory_mb":1048576,"cpu_kind":"shared","kernel_args":["x"]}}""")]
    [InlineData("""{"image":"nginx","guest":{"cpus":2,"cpu_weight":10000,"cpu_limit":1.5,"disk_bps":16384,"disk_iops":10,"net_bps":4000000000}}""")]
    [InlineData("""{"image":"nginx","mounts":[],"services":null,"checks":{},"schedule":"","dns":{}}""")]
    [InlineData("""{"image":"nginx","published_ports":[{"host_port":80,"guest_port":1},{"host_port":80,"guest_port":1,"protocol":"udp"}]}""")]
    public void What_changes_nothing_is_taken(string json) => MachineConfigRules.Check(Config(json));

    [Theory]
    [InlineData("nginx", "docker.io", "library/nginx", "latest")]
    [InlineData("team/app:1.2", "docker.io", "team/app", "1.2")]
    [InlineData("127.0.0.1:5000/team/app", "127.0.0.1:5000", "team/app", "latest")]
    [InlineData("localhost/app:x", "localhost", "app", "x")]
    [InlineData("registry.example/a/b/c:v", "registry.example", "a/b/c", "v")]
    public void An_image_reference_has_its_parts(string text, string registry, string repository, string tag)
    {
        Assert.True(ImageReference.TryParse(text, out var reference));
        Assert.Equal((registry, repository, tag), (reference.Registry, reference.Repository, reference.Tag));
    }

    [Fact]
    public void An_image_reference_with_a_digest_has_no_made_up_tag()
    {
        var digest = "sha256:" + new string('0', 64);
        Assert.True(ImageReference.TryParse($"nginx@{digest}", out var reference));
        Assert.Null(reference.Tag);
        Assert.Equal(digest, reference.Digest);
        Assert.True(ImageReference.TryParse(digest, out reference));
        Assert.Equal(digest, reference.Digest);
    }

    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    [InlineData("Nginx")]
    [InlineData("nginx:")]
    [InlineData("nginx@sha256:12")]
    [InlineData("../etc/passwd")]
    [InlineData("a//b")]
    [InlineData("/nginx")]
    [InlineData("--help")]
    [InlineData("nginx:tag\n")]
    public void Nonsense_is_no_image_reference(string text) => Assert.False(ImageReference.TryParse(text, out _));

    [Theory]
    [InlineData("SIGTERM", 15)]
    [InlineData("term", 15)]
    [InlineData("sigKILL", 9)]
    [InlineData("1", 1)]
    [InlineData("64", 64)]
    [InlineData("WINCH", 28)]
    public void A_signal_has_a_number(string text, int number)
    {
        Assert.True(Signals.TryParse(text, out var signal));
        Assert.Equal(number, signal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("0")]
    [InlineData("65")]
    [InlineData("-9")]
    [InlineData("SIG")]
    [InlineData("SIGSIGTERM")]
    public void Nonsense_is_no_signal(string text) => Assert.False(Signals.TryParse(text, out _));

    [Theory]
    [InlineData("10", 10_000)]
    [InlineData("0.5", 500)]
    [InlineData("10s", 10_000)]
    [InlineData("1m30s", 90_000)]
    [InlineData("1h", 3_600_000)]
    [InlineData("250ms", 250)]
    public void A_duration_is_seconds_or_as_Go_writes_it(string text, int milliseconds)
    {
        Assert.True(GoDuration.TryParse(text, out var duration));
        Assert.Equal(milliseconds, duration.TotalMilliseconds, 3);
    }

    [Theory]
    [InlineData("")]
    [InlineData("s")]
    [InlineData("10x")]
    [InlineData("-1s")]
    [InlineData("1s1")]
    [InlineData("99999999999999h")]
    [InlineData("1e5")]
    public void Nonsense_is_no_duration(string text) => Assert.False(GoDuration.TryParse(text, out _));

    [Theory]
    [InlineData("a", true)]
    [InlineData("a-1", true)]
    [InlineData("0", true)]
    [InlineData("", false)]
    [InlineData("-a", false)]
    [InlineData("a-", false)]
    [InlineData("A", false)]
    [InlineData("a.b", false)]
    [InlineData("ä", false)]
    [InlineData("a\n", false)]
    public void A_name_can_be_a_host_name(string name, bool isValid) => Assert.Equal(isValid, Names.IsValid(name));

    [Fact]
    public void A_name_has_at_most_63_characters()
    {
        Assert.True(Names.IsValid(new string('a', 63)));
        Assert.False(Names.IsValid(new string('a', 64)));
    }

    [Fact]
    public void Made_up_names_are_valid_and_rarely_meet()
    {
        var names = Enumerable.Range(0, 1000).Select(_ => MachineNames.New()).ToList();
        Assert.All(names, n => Assert.True(Names.IsValid(n), n));
        Assert.True(names.Distinct().Count() > 995);
    }

    [Fact]
    public void A_secret_is_256_random_bits_and_only_its_hash_is_compared()
    {
        var secret = TokenSecret.New();
        Assert.True(TokenSecret.IsWellFormed(secret));
        Assert.NotEqual(secret, TokenSecret.New());
        Assert.True(TokenSecret.Matches(secret, TokenSecret.Hash(secret)));
        Assert.False(TokenSecret.Matches(secret + "x", TokenSecret.Hash(secret)));
        Assert.False(TokenSecret.IsWellFormed(secret[1..]));
    }

    private static MachineConfig Config(string json) => JsonSerializer.Deserialize(json, ApiJson.Default.MachineConfig)!;
}
