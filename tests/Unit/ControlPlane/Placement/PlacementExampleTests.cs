using System.Collections.Frozen;
using Ravel.ControlPlane.Placement;
using static Ravel.Unit.ControlPlane.Placement.PlacementCases;

namespace Ravel.Unit.ControlPlane.Placement;

/// <summary>What ranks before what, and what a user reads when nothing fits.</summary>
public sealed class PlacementExampleTests
{
    private static readonly PlacementRequest Any = new() { Wanted = Small };

    [Fact]
    public void A_refusal_counts_the_nodes_by_reason_with_the_largest_amount_that_is_free()
    {
        NodeView[] nodes =
        [
            .. Enumerable.Range(0, 7).Select(i => Node($"full{i}", i == 3 ? 512 : 256) with { Region = "eu" }),
            .. Enumerable.Range(0, 3).Select(i => Node($"cordoned{i}") with { Region = "eu", Condition = NodeCondition.Cordoned }),
            .. Enumerable.Range(0, 2).Select(i => Node($"far{i}") with { Region = "us" }),
        ];
        var request = new PlacementRequest { Wanted = new(1, 1024, 0, 1), Regions = ["eu"], RequireRegion = true };

        var refusal = Refused(nodes, request);

        Assert.Equal(
            "0 of 12 nodes fit: 7 lack memory (largest free 512 MiB, wanted 1024), 3 cordoned, 2 in another region than eu.", refusal.ToString());
        Assert.True(refusal.MayPass);
    }

    [Fact]
    public void A_refusal_without_nodes_says_so() => Assert.Equal("There is no node; add one first.", Refused([], Any).ToString());

    [Fact]
    public void Waiting_does_not_help_where_every_node_is_of_the_wrong_kind() =>
        Assert.False(Refused([Node("n1")], Any with { Architecture = "arm64" }).MayPass);

    [Theory]
    [InlineData("cpus", "1 lacks CPUs (most free 1024, wanted 2000)")]
    [InlineData("disk", "1 lacks disk (largest free 1048576 MiB, wanted 2000000)")]
    [InlineData("slots", "1 has no slot for a machine left")]
    [InlineData("architecture", "1 is not arm64")]
    [InlineData("feature", "1 lacks kvm")]
    [InlineData("label", "1 has not the labels wanted")]
    [InlineData("node", "1 is not n2, the only one that will do")]
    [InlineData("draining", "1 draining")]
    [InlineData("unreachable", "1 unreachable")]
    public void Every_reason_is_worded(string what, string words)
    {
        var node = Node("n1");
        var (view, request) = what switch
        {
            "cpus" => (node, Any with { Wanted = Small with { Cpus = 2000 } }),
            "disk" => (node, Any with { Wanted = Small with { DiskMib = 2_000_000 } }),
            "slots" => (node with { Allocated = new(0, 0, 0, 10_000) }, Any),
            "architecture" => (node, Any with { Architecture = "arm64" }),
            "feature" => (node, Any with { Features = ["kvm"] }),
            "label" => (node, Any with { Constraints = [Constraint("gpu")] }),
            "node" => (node, Any with { NodeId = "n2" }),
            "draining" => (node with { Condition = NodeCondition.Draining }, Any),
            _ => (node with { Condition = NodeCondition.Unreachable }, Any),
        };

        Assert.Equal($"0 of 1 node fits: {words}.", Refused([view], request).ToString());
    }

    [Fact]
    public void Preferred_regions_come_first_and_the_others_after_them()
    {
        var nodes = new[] { "ap", "eu", "us" }.Select(region => Node(region) with { Region = region });

        Assert.Equal(["us", "ap", "eu"], Ranked(nodes, Any with { Regions = ["us", "ap"] }));
    }

    [Fact]
    public void A_region_that_is_preferred_and_full_does_not_stand_in_the_way()
    {
        NodeView[] nodes = [Node("eu", memoryMib: 1) with { Region = "eu" }, Node("us") with { Region = "us" }];

        Assert.Equal(["us"], Ranked(nodes, Any with { Regions = ["eu"] }));
    }

    [Fact]
    public void A_node_that_has_the_image_comes_first_even_among_a_thousand()
    {
        var nodes = Enumerable.Range(0, 1000).Select(i => Node($"n{i}") with
        {
            Images = i == 500 ? FrozenSet.Create("sha256:1") : FrozenSet<string>.Empty,
        });

        Assert.Equal("n500", Ranked(nodes, Any with { Image = "sha256:1" })[0]);
    }

    [Fact]
    public void Spreading_an_app_goes_before_its_image()
    {
        NodeView[] nodes =
        [
            Node("n1") with { Images = FrozenSet.Create("sha256:1"), Apps = new Dictionary<string, int> { ["app"] = 1 }.ToFrozenDictionary() },
            Node("n2"),
        ];

        Assert.Equal(["n2", "n1"], Ranked(nodes, Any with { Image = "sha256:1", AppId = "app" }));
    }

    [Fact]
    public void An_idle_node_comes_before_a_busy_one_and_one_that_reports_nonsense_counts_as_busy()
    {
        NodeView[] nodes = [Node("n1") with { Load = 0.9 }, Node("n2") with { Load = 0.1 }, Node("n3") with { Load = double.NaN }];

        Assert.Equal(["n2", "n1", "n3"], Ranked(nodes, Any));
    }

    [Fact]
    public void A_node_on_which_it_has_just_failed_is_the_last_resort_and_is_forgiven_with_time()
    {
        NodeView[] nodes = [Node("n1") with { Region = "eu" }, Node("n2") with { Region = "us", Load = 1 }];
        var request = Any with { Regions = ["eu"] };

        Assert.Equal(["n2", "n1"], Ranked(nodes, request with { Failures = [new("n1", 1, TimeSpan.Zero)] }));
        Assert.Equal(["n1", "n2"], Ranked(nodes, request with { Failures = [new("n1", 1, TimeSpan.FromMinutes(5))] }));
        Assert.Equal(["n2", "n1"], Ranked(nodes, request with { Failures = [new("n1", 8, TimeSpan.FromMinutes(5))] }));
        Assert.Equal(["n1"], Ranked(nodes[..1], request with { Failures = [new("n1", 1, TimeSpan.Zero)] }));
    }

    [Fact]
    public void Few_nodes_with_a_label_are_found_among_many()
    {
        var nodes = Enumerable.Range(0, 2000).Select(i => Node($"n{i}") with
        {
            Labels = i is 7 or 1800 ? Dictionary(("gpu", "a100")) : i == 900 ? Dictionary(("gpu", "h100")) : Dictionary(),
        });

        Assert.Equal(["n1800", "n7"], Ranked(nodes, Any with { Constraints = [Constraint("gpu=a100")] }).Order(StringComparer.Ordinal));
        Assert.Equal(["n1800", "n7", "n900"], Ranked(nodes, Any with { Constraints = [Constraint("gpu in (a100, h100)")] }).Order(StringComparer.Ordinal));
        Assert.Equal(["n900"], Ranked(nodes, Any with { Constraints = [Constraint("gpu"), Constraint("gpu!=a100")] }));
    }

    [Fact]
    public void The_images_of_one_node_that_are_looked_at_are_bounded() =>
        Assert.Equal(NodeView.MaxImages, (Node("n1") with { Images = Enumerable.Range(0, 5000).Select(i => $"sha256:{i}").ToFrozenSet() }).Images.Count);

    [Theory]
    [InlineData("disk=ssd", "In", "ssd")]
    [InlineData(" disk = ssd ", "In", "ssd")]
    [InlineData("disk=", "In", "")]
    [InlineData("disk!=hdd", "NotIn", "hdd")]
    [InlineData("disk in (ssd, nvme)", "In", "ssd|nvme")]
    [InlineData("disk", "Exists", null)]
    public void A_constraint_has_four_forms(string text, string what, string? values)
    {
        var constraint = Constraint(text);

        Assert.Equal(("disk", what), (constraint.Key, constraint.Operator.ToString()));
        Assert.Equal(values?.Split('|') ?? [], constraint.Values);
    }

    [Theory]
    [InlineData("")]
    [InlineData("=ssd")]
    [InlineData("disk in ssd")]
    [InlineData("disk in ()")]
    [InlineData("disk=a b")]
    [InlineData("di\nsk=ssd")]
    [InlineData("disk==ssd")]
    public void Anything_else_is_no_constraint(string text)
    {
        Assert.Null(LabelConstraint.TryParse(text, out var problem));
        Assert.NotEmpty(problem);
    }

    [Fact]
    public void A_constraint_is_bounded()
    {
        Assert.Null(LabelConstraint.TryParse(new string('a', LabelConstraint.MaxLength + 1), out _));
        Assert.Null(LabelConstraint.TryParse($"disk in ({string.Join(',', Enumerable.Range(0, 33))})", out _));
    }

    private static PlacementRefusal Refused(IEnumerable<NodeView> nodes, PlacementRequest request)
    {
        var plan = PlacementPlanner.Plan(Index(nodes), request, 1, 1);
        Assert.Empty(plan.Machines);
        return plan.Refusal!;
    }

    private static IReadOnlyList<string> Ranked(IEnumerable<NodeView> nodes, PlacementRequest request) =>
        Assert.Single(PlacementPlanner.Plan(Index(nodes), request, 1, 1).Machines);
}
