using System.Collections.Concurrent;
using System.Diagnostics;
using Ravel.Agent.Capacity;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Testing.Agent;

namespace Ravel.Bench.Agent;

/// <summary>What the agent itself costs: real journal, logs and link, with VMMs, images and network that take no time.</summary>
internal static class AgentBenchmark
{
    private const int Rounds = 200;
    private const int InFlight = 100;
    private const int Adopted = 1000;

    public static BenchCommand Command { get; } = new("agent", "", "starts and adoption on the fake VMM: what the agent itself costs", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        if (arguments.Count > 0)
            throw new BenchUsageException("it takes no arguments");
        await using var host = new AgentFixture { Capacity = new CapacityOptions { CpuOvercommit = 10_000, ReservedMemoryMib = -1_000_000_000, DiskOvercommit = 10_000 } };
        await host.StartAsync();

        var latencies = new List<double>();
        for (var i = 0; i < Rounds; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var begin = Stopwatch.GetTimestamp();
            var machine = await host.RunAsync();
            latencies.Add(Stopwatch.GetElapsedTime(begin).TotalMilliseconds);
            await host.PutAsync(machine, 2, DesiredState.Destroyed, force: true);
            await host.UntilAsync(machine, MachineState.Destroyed);
        }
        latencies.Sort();
        Console.WriteLine($"start, one at a time:  p50 {latencies[Rounds / 2]:0.0} ms, p99 {latencies[Rounds * 99 / 100]:0.0} ms");

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
        Console.WriteLine($"starts, {InFlight} in flight: {Adopted / elapsed.TotalSeconds:0}/s");

        await watching.CancelAsync();
        await watch;

        host.Crash.Kill();
        await host.Agent.DisposeAsync();
        start = Stopwatch.GetTimestamp();
        await host.StartAsync();
        Console.WriteLine($"adoption of {Adopted}:      {Stopwatch.GetElapsedTime(start).TotalMilliseconds:0} ms");
        return 0;
    }

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
