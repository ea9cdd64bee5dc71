using System.Net;
using System.Runtime.CompilerServices;
using CsCheck;
using Ravel.Agent.Hosting;
using Ravel.Agent.Networking;

namespace Ravel.Unit.Agent.Networking;

public sealed class NftTableTests
{
    private static readonly SlotAddresses Plan = new(3, 0xabcdef, 3);

    [Fact]
    public void Table_of_three_machines_is_the_golden_one()
    {
        var rendered = NftTable.Render(Rules(
            Guest(1, 1, new PortMapping("tcp", null, 8080, 80), new PortMapping("udp", "127.0.0.1", 5353, 53)),
            Guest(2, 1),
            Guest(300, 7, new PortMapping("tcp", null, 8443, 443))));
        // To write it anew after a change meant: RAVEL_WRITE_GOLDEN=1. Review the difference.
        if (Environment.GetEnvironmentVariable("RAVEL_WRITE_GOLDEN") is { Length: > 0 })
            File.WriteAllText(Golden(), rendered);
        Assert.Equal(File.ReadAllText(Golden()), rendered);
    }

    [Fact]
    public void Order_of_the_records_does_not_matter() =>
        Assert.Equal(
            NftTable.Render(Rules(Guest(1, 1), Guest(2, 2))),
            NftTable.Render(Rules(Guest(2, 2), Guest(1, 1))));

    [Fact]
    public void Machines_grow_sets_and_never_chains() =>
        Gen.Int[2, 200].Sample(count =>
        {
            var one = NftTable.Render(Rules(Guest(1, 1)));
            var many = NftTable.Render(Rules([.. Enumerable.Range(1, count).Select(i => Guest(i, 1))]));
            Assert.Equal(CountRules(one), CountRules(many));
        });

    [Fact]
    public void Limited_machines_cost_one_rule_together()
    {
        Assert.DoesNotContain("limit", NftTable.Render(Rules(Guest(1, 1), Guest(2, 1))), StringComparison.Ordinal);

        var rendered = NftTable.Render(Rules(Guest(1, 1) with { BytesPerSecond = 50_000 }, Guest(2, 1), Guest(3, 1) with { BytesPerSecond = 70_000 }));

        Assert.Contains("limit sent_3 {\n\t\trate over 70000 bytes/second burst 70000 bytes\n", rendered, StringComparison.Ordinal);
        Assert.Contains("limit name iifname map { \"rv3-1\" : \"sent_1\", \"rv3-3\" : \"sent_3\" } drop", rendered, StringComparison.Ordinal);
        Assert.DoesNotContain("sent_2", rendered, StringComparison.Ordinal);
    }

    [Fact]
    public void Script_removes_what_is_there_before_it_makes_anew() =>
        Assert.StartsWith(NftTable.RenderRemoval("ravel_3"), NftTable.Render(Rules()), StringComparison.Ordinal);

    [Fact]
    public void Without_a_resolver_there_is_no_dns_rule() =>
        Assert.DoesNotContain("th dport 53", NftTable.Render(Rules() with { Resolver = null }), StringComparison.Ordinal);

    private static string Golden([CallerFilePath] string here = "") => Path.ChangeExtension(here, ".golden.nft");

    private static int CountRules(string table) => table.Split('\n').Count(line =>
        line.EndsWith("accept", StringComparison.Ordinal) || line.EndsWith("drop", StringComparison.Ordinal) || line.Contains("goto ", StringComparison.Ordinal) && !line.Contains(" : goto", StringComparison.Ordinal));

    private static PacketRules Rules(params GuestAddresses[] guests) => new(
        "ravel_3", "rv3-", Plan.GatewayV4, SlotAddresses.GatewayV6, Plan.RangeV4, Plan.RangeV6,
        IPAddress.Parse("192.0.2.53"), [IPNetwork.Parse("10.1.0.0/16"), IPNetwork.Parse("fd12::/16")], guests);

    private static GuestAddresses Guest(int index, int network, params PortMapping[] ports) => new(
        index, $"rv3-{index}", Plan.GuestMac(index), Plan.GuestV4(index), Plan.GuestV6(network, index), Plan.GuestLinkLocal(index), network, ports);
}
