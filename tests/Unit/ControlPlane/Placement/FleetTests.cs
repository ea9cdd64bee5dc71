using System.Collections.Frozen;
using CsCheck;
using Microsoft.Extensions.Time.Testing;
using Ravel.ControlPlane.Placement;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.Unit.ControlPlane.Placement;

/// <summary>The index a server keeps, against what it would know if it began anew.</summary>
public sealed class FleetTests
{
    private const int Nodes = 6;
    private static readonly PlacementRequest Request = new() { Wanted = new ResourceAmounts(1, 256, 0, 1), AppId = "app" };

    private readonly FakeTimeProvider _time = new();

    private enum Step
    {
        Plan,
        Move,
        Drop,
        Report,
        StaleReport,
        Lose,
    }

    [Fact]
    public void Whatever_happens_a_plan_is_the_one_of_an_index_made_anew() =>
        Gen.Select(Gen.Int[0, 5].Select(step => (Step)step), Gen.Int[0, Nodes - 1]).Array[1, 60].Sample(steps =>
        {
            var time = new FakeTimeProvider();
            var fleet = new Fleet(time);
            // What each node holds by its own word, and what is on its way there.
            var reported = Enumerable.Range(0, Nodes).ToDictionary(i => $"n{i}", _ => 0);
            var holds = new List<Hold>();
            var lost = new HashSet<string>();
            var apps = reported.Keys.ToDictionary(id => id, _ => 0);
            foreach (var id in reported.Keys)
                fleet.Heard(Info(id, 0), NodeCondition.Ready, time.GetTimestamp());
            var onWay = new List<Hold>();
            foreach (var (step, at) in steps)
            {
                var asked = time.GetTimestamp();
                time.Advance(TimeSpan.FromMilliseconds(1));
                var node = $"n{at}";
                switch (step)
                {
                    case Step.Plan:
                        foreach (var hold in fleet.Plan(Request, 2, (ulong)at).Holds)
                        {
                            holds.Add(hold);
                            onWay.Add(hold);
                            apps[hold.NodeId]++;
                        }
                        break;
                    case Step.Move when holds.Count > at:
                        apps[holds[at].NodeId]--;
                        apps[node]++;
                        fleet.Move(holds[at], node);
                        onWay.Remove(holds[at]);
                        onWay.Add(holds[at]);
                        break;
                    case Step.Drop when holds.Count > at:
                        fleet.Drop(holds[at]);
                        apps[holds[at].NodeId]--;
                        onWay.Remove(holds[at]);
                        holds.RemoveAt(at);
                        break;
                    case Step.Report:
                        reported[node] = at;
                        lost.Remove(node);
                        fleet.Heard(Info(node, at), NodeCondition.Ready, time.GetTimestamp());
                        onWay.RemoveAll(hold => hold.NodeId == node);
                        break;
                    case Step.StaleReport:
                        // Asked before whatever was put there since: all of that still counts.
                        fleet.Heard(Info(node, reported[node]), lost.Contains(node) ? NodeCondition.Unreachable : NodeCondition.Ready, long.MinValue);
                        Assert.True(asked < time.GetTimestamp());
                        break;
                    case Step.Lose:
                        lost.Add(node);
                        fleet.SetCondition(node, NodeCondition.Unreachable);
                        break;
                }
            }

            var anew = new PlacementIndex();
            foreach (var id in reported.Keys)
            {
                var its = onWay.Count(hold => hold.NodeId == id);
                anew.Put(NodeView.Of(Info(id, reported[id])) with
                {
                    Allocated = new ResourceAmounts(reported[id] + its, 256 * (reported[id] + its), 0, reported[id] + its),
                    Condition = lost.Contains(id) ? NodeCondition.Unreachable : NodeCondition.Ready,
                    Apps = Apps(apps[id]),
                });
            }
            var expected = PlacementPlanner.Plan(anew, Request, 4, 7);
            var (plan, _) = fleet.Plan(Request, 4, 7);
            Assert.Equal(expected.Machines, plan.Machines);
            Assert.Equal(expected.Refusal?.ToString(), plan.Refusal?.ToString());
        });

    [Fact]
    public void A_report_that_was_asked_for_before_a_plan_does_not_undo_it()
    {
        var fleet = new Fleet(_time);
        var askedAt = _time.GetTimestamp();
        fleet.Heard(Info("n0", 7), NodeCondition.Ready, askedAt);
        _time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Null(fleet.Plan(Request, 1, 0).Plan.Refusal);
        fleet.Heard(Info("n0", 7), NodeCondition.Ready, askedAt);
        Assert.NotNull(fleet.Plan(Request, 1, 0).Plan.Refusal);
        fleet.Heard(Info("n0", 7), NodeCondition.Ready, _time.GetTimestamp());
        Assert.Null(fleet.Plan(Request, 1, 0).Plan.Refusal);
    }

    [Fact]
    public void Images_stay_known_while_the_revision_does()
    {
        var fleet = new Fleet(_time);
        var info = Info("n0", 0);
        info.ImagesRevision = "1";
        info.Images.Add("docker.io/library/nginx:latest");
        Assert.Single(fleet.Heard(info, NodeCondition.Ready, 0).Images);
        info.Images.Clear();
        Assert.NotEmpty(fleet.Heard(info, NodeCondition.Ready, 0).Images);
        info.ImagesRevision = "2";
        Assert.Empty(fleet.Heard(info, NodeCondition.Ready, 0).Images);
    }

    [Fact]
    public void Machines_counted_by_the_database_are_spread_against()
    {
        var fleet = new Fleet(_time);
        fleet.SetApps([("n1", "app", 3)]);
        foreach (var id in new[] { "n0", "n1" })
            fleet.Heard(Info(id, 0), NodeCondition.Ready, 0);
        Assert.Equal("n0", fleet.Plan(Request, 1, 1).Holds[0].NodeId);
        fleet.SetApps([("n0", "app", 9)]);
        Assert.Equal("n1", fleet.Plan(Request, 1, 1).Holds[0].NodeId);
    }

    [Fact]
    public void A_node_that_is_away_and_not_in_the_database_any_more_is_forgotten()
    {
        var fleet = new Fleet(_time);
        foreach (var id in new[] { "n0", "n1", "n2" })
            fleet.Heard(Info(id, 8), NodeCondition.Ready, 0);
        fleet.SetCondition("n1", NodeCondition.Unreachable);
        fleet.SetCondition("n2", NodeCondition.Unreachable);
        fleet.KeepOnly(new HashSet<string> { "n2" });
        Assert.Equal(2, fleet.Plan(Request, 1, 0).Plan.Refusal!.Nodes);
    }

    private static FrozenDictionary<string, int> Apps(int machines) =>
        machines > 0 ? new Dictionary<string, int> { ["app"] = machines }.ToFrozenDictionary() : FrozenDictionary<string, int>.Empty;

    /// <summary>A node of eight machines.</summary>
    private static Rpc.NodeInfo Info(string id, int machines) => new()
    {
        NodeId = id,
        Architecture = "amd64",
        Vmm = "qemu",
        Accelerator = "kvm",
        Capacity = new Rpc.Resources { Cpus = 8, MemoryMib = 8 * 256, DiskMib = 1 << 20, Machines = 8 },
        Allocated = new Rpc.Resources { Cpus = (uint)machines, MemoryMib = (ulong)machines * 256, Machines = (uint)machines },
    };
}
