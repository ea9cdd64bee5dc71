using CsCheck;
using Ravel.ControlPlane.Placement;
using static Ravel.Unit.ControlPlane.Placement.PlacementCases;

namespace Ravel.Unit.ControlPlane.Placement;

/// <summary>What holds of every plan, whatever nodes there are and whatever is asked.</summary>
public sealed class PlacementPlannerTests
{
    private static readonly Gen<(NodeView[] Nodes, PlacementRequest Request, int Count, ulong Seed)> AnyCase =
        Gen.Select(Nodes, Request, Gen.Int[1, 12], Gen.ULong);

    [Fact]
    public void Only_nodes_that_fit_are_named_and_one_is_named_whenever_one_fits() => AnyCase.Sample(c =>
    {
        var plan = PlacementPlanner.Plan(Index(c.Nodes), c.Request, 1, c.Seed);
        var fitting = c.Nodes.Where(node => Fits(c.Request, node, default)).Select(node => node.Id).ToHashSet();

        Assert.Equal(fitting.Count == 0, plan.Refusal is not null);
        if (plan.Refusal is not null)
        {
            Assert.Empty(plan.Machines);
            return;
        }
        var named = Assert.Single(plan.Machines);
        Assert.InRange(named.Count, 1, PlacementPlanner.MaxCandidates);
        Assert.Equal(named.Count, named.Distinct().Count());
        Assert.Subset(fitting, named.ToHashSet());
    });

    [Fact]
    public void The_one_node_of_a_thousand_that_fits_is_found() =>
        Gen.Select(Gen.Int[0, 999], Gen.ULong, Gen.Bool).Sample((only, seed, pack) =>
        {
            // Room is there everywhere, but in pieces: only the one has memory and disk together.
            var nodes = Enumerable.Range(0, 1000).Select(i => Node($"n{i}") with
            {
                Capacity = new ResourceAmounts(8, i == only || i % 2 == 0 ? 4096 : 128, i == only || i % 2 == 1 ? 4096 : 0, 10),
            });
            var request = new PlacementRequest { Wanted = new(1, 1024, 1024, 1), Strategy = pack ? PlacementStrategy.Pack : PlacementStrategy.Spread };

            var plan = PlacementPlanner.Plan(Index(nodes), request, 1, seed);

            Assert.Equal([$"n{only}"], Assert.Single(plan.Machines));
        }, iter: 30);

    [Fact]
    public void Machines_planned_as_one_never_need_more_than_a_node_has() => AnyCase.Sample(c =>
    {
        var plan = PlacementPlanner.Plan(Index(c.Nodes), c.Request, c.Count, c.Seed);
        var planned = c.Nodes.ToDictionary(node => node.Id, _ => default(ResourceAmounts));
        var views = c.Nodes.ToDictionary(node => node.Id);
        foreach (var named in plan.Machines)
        {
            Assert.True(Fits(c.Request, views[named[0]], planned[named[0]]));
            planned[named[0]] += c.Request.Wanted;
        }

        Assert.Equal(plan.Machines.Count < c.Count, plan.Refusal is not null);
        if (plan.Refusal is not null)
            Assert.DoesNotContain(c.Nodes, node => Fits(c.Request, node, planned[node.Id]));
    });

    [Fact]
    public void Reasons_against_nodes_add_up_to_all_nodes() => AnyCase.Sample(c =>
    {
        var refusal = PlacementPlanner.Plan(Index(c.Nodes), c.Request, c.Nodes.Length + 100, c.Seed).Refusal;
        if (refusal is null)
            return;

        Assert.Equal(c.Nodes.Length, refusal.Nodes);
        Assert.Equal(c.Nodes.Length, Enum.GetValues<RefusalReason>().Sum(reason => refusal[reason]));
        Assert.Equal(0, refusal[RefusalReason.None]);
        Assert.DoesNotContain('\n', refusal.ToString());
    }, iter: 40);

    [Fact]
    public void Many_planned_as_one_are_the_same_as_one_after_the_other() => AnyCase.Sample(c =>
    {
        var index = Index(c.Nodes);
        var together = PlacementPlanner.Plan(index, c.Request, c.Count, c.Seed);
        // The same index again: planning has left nothing in it.
        var oneByOne = new List<IReadOnlyList<string>>();
        for (var i = 0; i < c.Count; i++)
        {
            var plan = PlacementPlanner.Plan(index, c.Request, 1, SeededDraws.SeedOf(c.Seed, i));
            if (plan.Refusal is not null)
                break;
            oneByOne.Add(plan.Machines[0]);
            index.Debit(plan.Machines[0][0], c.Request.Wanted, c.Request.AppId);
        }

        Assert.Equal(together.Machines, oneByOne);
    });

    [Fact]
    public void A_plan_depends_on_nodes_request_and_seed_and_not_on_the_order_in_which_nodes_came() =>
        Gen.Select(AnyCase, Gen.ULong).Sample((c, order) =>
        {
            var shuffled = c.Nodes.OrderBy(node => SeededDraws.Mix(SeededDraws.SeedOf(node.Id) ^ order));

            Assert.Equal(
                PlacementPlanner.Plan(Index(c.Nodes), c.Request, c.Count, c.Seed).Machines,
                PlacementPlanner.Plan(Index(shuffled), c.Request, c.Count, c.Seed).Machines);
        });

    [Fact]
    public void An_index_that_has_seen_changes_plans_like_one_that_is_new() =>
        Gen.Select(AnyCase, Nodes, Gen.Int[0, 3].Array[30]).Sample((c, changed, choices) =>
        {
            var index = Index(c.Nodes);
            var current = c.Nodes.ToDictionary(node => node.Id);
            foreach (var (view, choice) in changed.Zip(choices))
            {
                var amounts = new ResourceAmounts(1, 128, 100, 1);
                switch (choice)
                {
                    case 0:
                        index.Put(view);
                        current[view.Id] = view;
                        break;
                    case 1:
                        Assert.Equal(current.Remove(view.Id), index.Remove(view.Id));
                        break;
                    case 2:
                        // A machine comes and goes.
                        Assert.Equal(current.ContainsKey(view.Id), index.Debit(view.Id, amounts, "other"));
                        Assert.Equal(current.ContainsKey(view.Id), index.Credit(view.Id, amounts, "other"));
                        break;
                    default:
                        if (!index.Debit(view.Id, amounts, "app"))
                            break;
                        var apps = new Dictionary<string, int>(current[view.Id].Apps);
                        apps["app"] = apps.GetValueOrDefault("app") + 1;
                        current[view.Id] = current[view.Id] with
                        {
                            Allocated = current[view.Id].Allocated + amounts,
                            Apps = System.Collections.Frozen.FrozenDictionary.ToFrozenDictionary(apps),
                        };
                        break;
                }
            }

            Assert.Equal(
                PlacementPlanner.Plan(Index(current.Values), c.Request, c.Count, c.Seed).Machines,
                PlacementPlanner.Plan(index, c.Request, c.Count, c.Seed).Machines);
        });
}
