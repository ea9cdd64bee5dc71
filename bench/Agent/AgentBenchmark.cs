using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Ravel.Bench.Results;
using Ravel.Bench.Start;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;

namespace Ravel.Bench.Agent;

/// <summary>What the agent itself costs: real journal, logs and link, with VMMs, images and network that take no time.</summary>
internal static class AgentBenchmark
{
    private const int DefaultRounds = 200;
    private const int InFlight = 100;
    private const int Adopted = 1000;

    private const string Explanation =
        "One agent in the program of the benchmark, with its real journal, logs and link, and VMMs, images and a network that take no time. *Memory per "
        + "machine*: what the process has grown by with 500 machines that run, after a full collection. The floor has no agent: 500 such VMMs and guests, "
        + "which live in the process too, each with the host's end of the link. A buffer of 96 KiB at the guest's end is in RAM only once a collection has "
        + "moved it, so that live objects tell what a machine adds better than resident memory does.";

    public static BenchCommand Command { get; } = new("agent", "[--rounds N] [--write]", "starts, adoption and memory on the fake VMM: what the agent itself costs", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var (rounds, write) = StartBenchmark.Parse(arguments, DefaultRounds);
        // First, while nothing else has left anything in the heap.
        var fakes = await Density.OfFakesAsync(cancellationToken);
        var agent = await Density.OfAgentAsync(cancellationToken);

        await using var host = new AgentFixture { Capacity = Density.Room };
        await host.StartAsync();

        var latencies = new List<double>();
        for (var i = 0; i < rounds; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var begin = Stopwatch.GetTimestamp();
            var machine = await host.RunAsync();
            latencies.Add(Stopwatch.GetElapsedTime(begin).TotalMilliseconds);
            await host.PutAsync(machine, 2, DesiredState.Destroyed, force: true);
            await host.UntilAsync(machine, MachineState.Destroyed);
        }
        latencies.Sort();

        using var watching = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var started = new ConcurrentDictionary<string, TaskCompletionSource>();
        var watch = WatchAsync(host, started, watching.Token);
        var start = Stopwatch.GetTimestamp();
        await Parallel.ForEachAsync(
            Enumerable.Range(0, Adopted),
            new ParallelOptions { MaxDegreeOfParallelism = InFlight, CancellationToken = cancellationToken },
            async (_, _) =>
            {
                var machine = MachineId.New();
                var isStarted = started.GetOrAdd(machine.Value, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
                await host.PutAsync(machine, 1, DesiredState.Started);
                await isStarted.Task;
            });
        var elapsed = Stopwatch.GetElapsedTime(start);

        await watching.CancelAsync();
        await watch;

        host.Crash.Kill();
        await host.Agent.DisposeAsync();
        start = Stopwatch.GetTimestamp();
        await host.StartAsync();
        var adoption = Stopwatch.GetElapsedTime(start);

        var table = ResultTable.Render(
        [
            ["the agent alone", "figure"],
            ["start, one at a time, p50", Text($"{latencies[rounds / 2]:0.0} ms")],
            ["start, one at a time, p99", Text($"{latencies[rounds * 99 / 100]:0.0} ms")],
            [Text($"starts with {InFlight} in flight"), Text($"{Adopted / elapsed.TotalSeconds:0}/s")],
            [Text($"taking over {Adopted} machines"), Text($"{adoption.TotalMilliseconds:0} ms")],
            [Text($"resident memory per machine, at {Density.Machines}"), Text($"{agent.Resident:0.0} KiB")],
            ["floor: fake VMM, guest and link", Text($"{fakes.Resident:0.0} KiB")],
            ["live objects per machine", Text($"{agent.Heap:0.0} KiB")],
            ["floor: fake VMM, guest and link", Text($"{fakes.Heap:0.0} KiB")],
        ]);
        Console.Write(table);
        if (write)
            await BenchmarksPage.WriteAsync("agent", "agent --write", Explanation, table, cancellationToken);
        return 0;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>As the server learns of it: from the events.</summary>
    private static async Task WatchAsync(
        AgentFixture host, ConcurrentDictionary<string, TaskCompletionSource> started, CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var entry in host.Agent.Machines.Outbox.WatchAsync(0, cancellationToken))
            {
                if (entry.Event.Type == "start" && started.TryGetValue(entry.Event.Status.MachineId, out var waiting))
                    waiting.TrySetResult();
            }
        }
        catch (OperationCanceledException)
        {
            // All have started.
        }
    }
}
