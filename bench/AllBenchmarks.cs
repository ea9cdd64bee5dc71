using System.Diagnostics;
using Ravel.Bench.Agent;
using Ravel.Bench.Daemon;
using Ravel.Bench.Kernels;
using Ravel.Bench.Start;

namespace Ravel.Bench;

/// <summary>Those whose figures Ravel promises, one after the other, each with the time it took.</summary>
internal static class AllBenchmarks
{
    private static readonly BenchCommand[] Benchmarks =
        [StartBenchmark.Command, RestoreBenchmark.Command, KernelBenchmark.Command, AgentBenchmark.Command, DaemonBenchmark.Command];

    public static BenchCommand Command { get; } =
        new("all", "[--write]", $"{string.Join(", ", Benchmarks.Select(benchmark => benchmark.Name))}: about ten minutes", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        if (arguments is not ([] or ["--write"]))
            throw new BenchUsageException("it takes --write or nothing");
        var began = Stopwatch.GetTimestamp();
        foreach (var benchmark in Benchmarks)
        {
            Console.WriteLine($"\n{benchmark.Name}: {benchmark.Summary} (load {File.ReadAllText("/proc/loadavg").Split(' ')[0]})");
            var (start, exitCode) = (Stopwatch.GetTimestamp(), await benchmark.RunAsync(arguments, cancellationToken));
            if (exitCode != 0)
                return exitCode;
            Console.WriteLine($"{benchmark.Name} took {Stopwatch.GetElapsedTime(start).TotalSeconds:0} s");
        }
        Console.WriteLine($"\nall of it took {Stopwatch.GetElapsedTime(began).TotalSeconds:0} s");
        return 0;
    }
}
