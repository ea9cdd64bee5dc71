using Ravel.ControlPlane.Placement;
using CsCheck;
using static Ravel.Unit.ControlPlane.Placement.PlacementCases;

namespace Ravel.Unit.ControlPlane.Placement;

/// <summary>How evenly machines are spread, how tightly they are packed, and how fairly chance decides.</summary>
public sealed class PlacementSpreadTests
{
    private static readonly PlacementRequest OfAnApp = new() { Wanted = Small, AppId = "app" };

    [Fact]
    public void Over_equal_zones_and_nodes_counts_differ_by_at_most_one_where_all_nodes_are_looked_at() =>
        Gen.Select(Gen.Int[1, 4], Gen.Int[1, 16], Gen.Int[1, 100], Gen.ULong).Sample((zones, perZone, machines, seed) =>
        {
            var (perNode, ofZone) = Counts(Equal(zones, perZone), OfAnApp, machines, seed);

            Assert.InRange(perNode.Max() - perNode.Min(), 0, 1);
            Assert.InRange(ofZone.Max() - ofZone.Min(), 0, 1);
        });

    [Fact]
    public void Over_many_nodes_of_which_a_sample_is_looked_at_zones_differ_by_at_most_one_and_nodes_by_at_most_two() =>
        Gen.Select(Gen.Int[1, 3], Gen.Int[100, 300], Gen.Int[1, 1500], Gen.ULong).Sample((zones, perZone, machines, seed) =>
        {
            var (perNode, ofZone) = Counts(Equal(zones, perZone), OfAnApp, machines, seed);

            Assert.InRange(perNode.Max() - perNode.Min(), 0, 2);
            Assert.InRange(ofZone.Max() - ofZone.Min(), 0, 1);
        }, iter: 40);

    [Fact]
    public void A_full_zone_passes_its_machines_on_to_the_others()
    {
        // Room for 2 in the first zone, for many in the second.
        var nodes = Equal(2, 2).Select(node => node.Zone == "z0" ? node with { Capacity = new ResourceAmounts(8, 256, 0, 10) } : node);

        var (_, ofZone) = Counts(nodes, OfAnApp, 10, 1);

        Assert.Equal([2, 8], ofZone);
    }

    [Fact]
    public void Machines_on_cordoned_nodes_count_for_their_zone()
    {
        var nodes = Equal(2, 2).Select(node => node.Id == "z0-n0" ? WithMachines(node, 3) with { Condition = NodeCondition.Cordoned } : node);

        var (_, ofZone) = Counts(nodes, OfAnApp, 3, 1);

        Assert.Equal([0, 3], ofZone);
    }

    [Fact]
    public void Packing_fills_what_is_open_before_it_opens_another_node() =>
        Gen.Select(Gen.Int[1, 3], Gen.Int[1, 150], Gen.Int[1, 7], Gen.Int[1, 100], Gen.ULong).Sample((zones, perZone, perNode, machines, seed) =>
        {
            machines = Math.Min(machines, zones * perZone * perNode);

            var (counts, _) = Counts(
                Equal(zones, perZone, memoryMib: perNode * Small.MemoryMib), OfAnApp with { Strategy = PlacementStrategy.Pack }, machines, seed);

            Assert.Equal((machines + perNode - 1) / perNode, counts.Count(count => count > 0));
        });

    [Fact]
    public void Packing_takes_the_fullest_node_that_has_room()
    {
        NodeView[] nodes = [Used("n1", 1024), Used("n2", 3072), Used("n3", 4000), Node("n4")];

        var plan = PlacementPlanner.Plan(Index(nodes), new PlacementRequest { Wanted = Small, Strategy = PlacementStrategy.Pack }, 1, 7);

        Assert.Equal(["n2", "n1", "n4"], plan.Machines[0]);

        static NodeView Used(string id, long mib) => Node(id) with { Allocated = new ResourceAmounts(1, mib, 0, 1) };
    }

    [Theory]
    [InlineData(1, 20)]
    [InlineData(1, 300)]
    [InlineData(4, 90)]
    public void Among_equal_nodes_each_is_chosen_as_often_as_any_other(int zones, int perZone) =>
        AssertEven(Equal(zones, perZone).ToList());

    [Fact]
    public void The_node_of_a_small_zone_is_chosen_no_more_often_than_one_of_a_large_zone() =>
        AssertEven([.. Equal(1, 80), .. Equal(1, 8).Select(node => node with { Id = "small-" + node.Id, Zone = "small" })]);

    /// <summary>Chi-square of the choices against an even one. With k degrees of freedom it is about normal with mean k and variance 2k.</summary>
    private static void AssertEven(List<NodeView> nodes)
    {
        const int ExpectedPerNode = 40;
        var index = Index(nodes);
        var chosen = nodes.ToDictionary(node => node.Id, _ => 0);
        for (ulong seed = 0; seed < (ulong)(nodes.Count * ExpectedPerNode); seed++)
            chosen[PlacementPlanner.Plan(index, OfAnApp, 1, SeededDraws.Mix(seed)).Machines[0][0]]++;

        var freedom = nodes.Count - 1;
        var square = chosen.Values.Sum(count => Math.Pow(count - ExpectedPerNode, 2) / ExpectedPerNode);

        Assert.InRange(square, freedom - (4 * Math.Sqrt(2 * freedom)), freedom + (4 * Math.Sqrt(2 * freedom)));
    }

    private static (int[] PerNode, int[] PerZone) Counts(IEnumerable<NodeView> nodes, PlacementRequest request, int machines, ulong seed)
    {
        var all = nodes.ToList();
        var plan = PlacementPlanner.Plan(Index(all), request, machines, seed);
        Assert.Null(plan.Refusal);
        var counts = plan.Machines.CountBy(named => named[0]).ToDictionary();
        return (
            [.. all.Select(node => counts.GetValueOrDefault(node.Id))],
            [.. all.GroupBy(node => node.Zone).OrderBy(zone => zone.Key, StringComparer.Ordinal).Select(zone => zone.Sum(node => counts.GetValueOrDefault(node.Id)))]);
    }

    private static NodeView WithMachines(NodeView node, int machines) => node with
    {
        Apps = System.Collections.Frozen.FrozenDictionary.ToFrozenDictionary(new Dictionary<string, int> { ["app"] = machines }),
    };
}
