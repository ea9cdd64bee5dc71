using System.Collections.Frozen;
using System.Diagnostics;
using System.Text;
using Ravel.Bench.Results;
using Ravel.ControlPlane.Placement;

namespace Ravel.Bench.Placement;

/// <summary>What one placement costs the planner, by the number of nodes: plan, and count the machine on its node.</summary>
internal static class PlannerBenchmark
{
    private const int MachinesPerNode = 10;
    private const int MachinesPerApp = 20;
    private const int Zones = 3;
    private const int Refusals = 200;
    private const string Image = "sha256:1";
    private static readonly int[] Sizes = [100, 1_000, 5_000];
    private static readonly ResourceAmounts Wanted = new(1, 512, 1024, 1);

    public static BenchCommand Command { get; } = new("planner", "[--write]", "one placement by number of nodes: what the planner itself costs", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        if (arguments.Any(argument => argument != "--write"))
            throw new BenchUsageException("it takes only --write");
        Console.WriteLine("warm-up");
        foreach (var strategy in Enum.GetValues<PlacementStrategy>())
            Measure(Sizes[1], strategy, cancellationToken);

        var rows = new List<Row>();
        foreach (var strategy in Enum.GetValues<PlacementStrategy>())
        {
            foreach (var size in Sizes)
            {
                rows.Add(Measure(size, strategy, cancellationToken));
                Console.WriteLine($"  {strategy}, {size} nodes");
            }
        }
        var table = Table(rows);
        Console.WriteLine();
        Console.Write(table);
        if (arguments.Count > 0)
        {
            await BenchmarksPage.WriteAsync(
                "planner",
                "planner --write",
                $"One placement in memory: the plan for one machine and its debit, on one core, from empty nodes until all are full with {MachinesPerNode} each, again and again up to {Sizes[^1] * MachinesPerNode:N0} placements; "
                    + $"apps of {MachinesPerApp} machines, {Zones} zones, the image on every tenth node. *Heard* is a node's report taken into the index; *refused* the exact answer that nothing fits. "
                    + $"*Growth* is the median against the one with {Sizes[0]} nodes. Nothing is stored and no node is asked.",
                table,
                cancellationToken);
        }
        return 0;
    }

    /// <summary>The same number of placements whatever the size, so that all see as much of the machine's noise.</summary>
    private static Row Measure(int nodes, PlacementStrategy strategy, CancellationToken cancellationToken)
    {
        var microseconds = new List<double>(Sizes[^1] * MachinesPerNode);
        var views = Views(nodes);
        PlacementIndex index;
        do
        {
            index = new PlacementIndex();
            views.ForEach(index.Put);
            Fill(index, nodes * MachinesPerNode, strategy, microseconds, cancellationToken);
        }
        while (microseconds.Count < Sizes[^1] * MachinesPerNode);

        var request = new PlacementRequest { Wanted = Wanted, Strategy = strategy };
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < Refusals; i++)
        {
            if (PlacementPlanner.Plan(index, request, 1, (ulong)i).Refusal is null)
                throw new InvalidOperationException("A machine was placed on a full node.");
        }
        var refused = Stopwatch.GetElapsedTime(start).TotalMicroseconds / Refusals;

        start = Stopwatch.GetTimestamp();
        foreach (var view in views)
            index.Put(view with { Allocated = Wanted });
        var heard = Stopwatch.GetElapsedTime(start).TotalMicroseconds / nodes;

        microseconds.Sort();
        return new Row(
            strategy, nodes, microseconds.Average(), microseconds[microseconds.Count / 2], microseconds[microseconds.Count * 99 / 100], heard, refused);
    }

    private static void Fill(PlacementIndex index, int machines, PlacementStrategy strategy, List<double> microseconds, CancellationToken cancellationToken)
    {
        var request = new PlacementRequest { Wanted = Wanted, Image = Image, Strategy = strategy };
        for (var i = 0; i < machines; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var its = request with { AppId = $"app-{i / MachinesPerApp}" };
            var begin = Stopwatch.GetTimestamp();
            var plan = PlacementPlanner.Plan(index, its, 1, (ulong)i);
            index.Debit(plan.Machines[0][0], Wanted, its.AppId);
            microseconds.Add(Stopwatch.GetElapsedTime(begin).TotalMicroseconds);
        }
    }

    private static List<NodeView> Views(int nodes)
    {
        var image = FrozenSet.Create(Image);
        return [.. Enumerable.Range(0, nodes).Select(i => new NodeView
        {
            Id = $"node-{i}",
            Region = "eu",
            Zone = $"z{i % Zones}",
            Architecture = "amd64",
            Capacity = new ResourceAmounts(MachinesPerNode, MachinesPerNode * Wanted.MemoryMib, 1 << 20, 100),
            Images = i % 10 == 0 ? image : FrozenSet<string>.Empty,
        })];
    }

    private static string Table(List<Row> rows)
    {
        var text = new StringBuilder("| strategy | nodes | p50 | mean | p99 | growth | heard | refused |\n|---|--:|--:|--:|--:|--:|--:|--:|\n");
        foreach (var row in rows)
        {
            var smallest = rows.First(other => other.Strategy == row.Strategy);
            text.Append($"| {row.Strategy.ToString().ToLowerInvariant()} | {row.Nodes:N0} | {row.Median:0.0} µs | {row.Mean:0.0} µs | {row.P99:0.0} µs ")
                .Append($"| {row.Median / smallest.Median:0.0} × ({row.Nodes / smallest.Nodes} × the nodes) | {row.Heard:0.0} µs | {row.Refused:0} µs |\n");
        }
        return text.ToString();
    }

    private sealed record Row(PlacementStrategy Strategy, int Nodes, double Mean, double Median, double P99, double Heard, double Refused);
}
