using Ravel.Agent.Networking;

namespace Ravel.Unit.Agent.Networking;

public sealed class NetworkDiagnosisTests
{
    [Fact]
    public void Forward_chain_that_drops_by_default_is_a_problem_with_a_command_to_mend_it()
    {
        var finding = Assert.Single(Judge(Chain("ip", "filter", "FORWARD", "forward", "drop")));
        Assert.True(finding.IsProblem);
        Assert.Equal("iptables -I FORWARD -i rv+ -j ACCEPT && iptables -I FORWARD -o rv+ -j ACCEPT", finding.Remedy);
    }

    [Fact]
    public void Handwritten_chain_is_mended_with_nft()
    {
        var finding = Assert.Single(Judge(Chain("inet", "fw", "fwd", "forward", "drop")));
        Assert.StartsWith("nft insert rule inet fw fwd iifname 'rv*' accept", finding.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void Firewalld_is_recognised_though_its_policy_is_accept() =>
        Assert.Contains("firewall-cmd", Assert.Single(Judge(Chain("inet", "firewalld", "filter_FORWARD", "forward", "accept"))).Remedy, StringComparison.Ordinal);

    [Fact]
    public void Input_chain_that_drops_by_default_is_only_noted() =>
        Assert.False(Assert.Single(Judge(Chain("inet", "filter", "input", "input", "drop"))).IsProblem);

    [Fact]
    public void Harmless_chains_and_our_own_are_not_reported() =>
        Assert.Empty(Judge(
            Chain("ip", "filter", "FORWARD", "forward", "accept"),
            Chain("ip", "filter", "OUTPUT", "output", "drop"),
            Chain("inet", "ravel_3", "forward", "forward", "drop"),
            """{"chain": {"family": "ip", "table": "filter", "name": "DOCKER", "handle": 4}}"""));

    [Theory]
    [InlineData("proc /proc proc rw,nosuid 0 0\n", false)]
    [InlineData("proc /proc proc rw 0 0\nproc /proc/sys proc ro,nosuid 0 0\n", true)]
    [InlineData("proc /proc proc rw 0 0\nproc /proc/sys proc ro 0 0\nproc /proc/sys/net proc rw 0 0\n", false)]
    public void Read_only_settings_are_seen_in_the_mounts(string mounts, bool expected) =>
        Assert.Equal(expected, NetworkDiagnosis.IsReadOnlySysctl(mounts));

    private static IReadOnlyList<NetworkFinding> Judge(params string[] items) =>
        NetworkDiagnosis.JudgeChains($$$"""{"nftables": [{"metainfo": {"version": "1.0.6"}}, {{{string.Join(',', items)}}}]}""");

    private static string Chain(string family, string table, string name, string hook, string policy) =>
        $$$"""{"chain": {"family": "{{{family}}}", "table": "{{{table}}}", "name": "{{{name}}}", "handle": 1, "type": "filter", "hook": "{{{hook}}}", "prio": 0, "policy": "{{{policy}}}"}}""";
}
