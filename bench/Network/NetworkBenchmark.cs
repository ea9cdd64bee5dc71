using System.Diagnostics;
using Ravel.Agent.Networking;
using Ravel.Linux.Processes;
using Ravel.Testing.Network;

namespace Ravel.Bench.Network;

/// <summary>
/// What connecting a machine costs on a node with none and with many, and what replacing the table costs alone. In a network
/// namespace of its own; no guests.
/// </summary>
internal static class NetworkBenchmark
{
    private const int Rounds = 20;

    public static readonly BenchCommand Command = new(
        "network", "[MACHINES]", "attaching machines to the node's network, by how many there are", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var many = arguments.Count == 0 ? 1000 : int.TryParse(arguments[0], out var given) && given > 0 ? given : throw new BenchUsageException($"'{arguments[0]}' is no number of machines");
        await using var test = await TestHost.StartAsync();
        var network = await test.StartNetworkAsync();

        await MeasureAsync(test, network, 0, cancellationToken);
        var machines = Enumerable.Range(1, many).Select(i => test.NewMachine(i, i % 50 + 1, new PortMapping("tcp", null, 10000 + i, 80))).ToList();
        var all = Stopwatch.StartNew();
        await test.Host.RunAsync(() => Task.WhenAll(machines.Select(machine => network.AttachAsync(machine, cancellationToken))));
        Console.WriteLine($"{many} machines attached at once: {all.ElapsedMilliseconds} ms");
        await MeasureAsync(test, network, many, cancellationToken);

        all.Restart();
        await test.Host.RunAsync(() => network.ReconcileAsync(machines, cancellationToken));
        Console.WriteLine($"reconcile of {many} machines that are there: {all.ElapsedMilliseconds} ms");
        await test.Host.RunAsync(() => network.RemoveEverythingAsync(cancellationToken));
        return 0;
    }

    private static async Task MeasureAsync(TestHost test, NodeNetwork network, int others, CancellationToken cancellationToken)
    {
        var attach = new List<TimeSpan>();
        var detach = new List<TimeSpan>();
        for (var round = 0; round <= Rounds; round++)
        {
            var machine = test.NewMachine(60_000, 9999, new PortMapping("tcp", null, 9999, 80));
            var start = Stopwatch.GetTimestamp();
            await test.Host.RunAsync(() => network.AttachAsync(machine, cancellationToken));
            var middle = Stopwatch.GetTimestamp();
            await test.Host.RunAsync(() => network.DetachAsync(machine.Instance, cancellationToken));
            if (round == 0)
                continue; // warm-up
            attach.Add(Stopwatch.GetElapsedTime(start, middle));
            detach.Add(Stopwatch.GetElapsedTime(middle));
        }
        var replace = await MeasureReplacementAsync(test, cancellationToken);
        Console.WriteLine(
            $"with {others} others, median of {Rounds}: attach {Median(attach):0.0} ms, detach {Median(detach):0.0} ms; of these nft replacing the table {Median(replace):0.0} ms");
    }

    /// <summary>What nft and the kernel need for the table as it is, from the start of nft to its end.</summary>
    private static Task<List<TimeSpan>> MeasureReplacementAsync(TestHost test, CancellationToken cancellationToken) => test.Host.RunAsync(async () =>
    {
        var script = "delete table inet ravel_0\ndelete table arp ravel_0\n"
            + await CommandRunner.RunCheckedAsync("nft", ["list", "ruleset"], cancellationToken: cancellationToken);
        var times = new List<TimeSpan>();
        for (var round = 0; round < Rounds; round++)
        {
            var start = Stopwatch.GetTimestamp();
            await CommandRunner.RunCheckedAsync("nft", ["-f", "-"], script, cancellationToken: cancellationToken);
            times.Add(Stopwatch.GetElapsedTime(start));
        }
        return times;
    });

    private static double Median(List<TimeSpan> times) => times.Order().ElementAt(times.Count / 2).TotalMilliseconds;
}
