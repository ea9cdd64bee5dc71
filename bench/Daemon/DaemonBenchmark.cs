using System.Diagnostics;
using System.Globalization;
using Ravel.Bench.Results;
using Ravel.Bench.Start;
using Ravel.Contracts.Api;

namespace Ravel.Bench.Daemon;

/// <summary>What the daemon costs while machines run and nothing happens, and how long a new one takes to take them over.</summary>
internal static class DaemonBenchmark
{
    private const int DefaultMachines = 20;
    private const int Adoptions = 5;
    private const int MachineMib = 128;
    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(60);

    /// <summary>Longer than the daemon waits before it gives memory back.</summary>
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(20);

    private const string Explanation =
        "`raveld` with machines that sleep (busybox, 128 MiB each, real QEMU processes), started one after the other. Resident memory is VmRSS of "
        + "/proc/PID/status 20 s after the last start; CPU is utime + stime over the next 60 s. *Taken over*: SIGKILL, then from the exec of `ravel up` "
        + "until it returns, before which every machine has been found again and its link is open; the median of 5.";

    public static BenchCommand Command { get; } =
        new("daemon", "[--rounds MACHINES] [--write]", "raveld with 20 running machines: memory, CPU, time to take them over", RunAsync);

    private static async Task<int> RunAsync(IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var (count, write) = StartBenchmark.Parse(arguments, DefaultMachines);
        // A host of two CPUs shall have room for machines that sleep.
        Environment.SetEnvironmentVariable("RAVEL_CPU_OVERCOMMIT", "100");
        await using var ravel = await RavelUnderTest.UpAsync(warmStarts: true, cancellationToken);
        var rows = new List<string[]> { new[] { "raveld", "no machine", string.Create(CultureInfo.InvariantCulture, $"{count} machines") } };

        var machines = new List<Machine>();
        try
        {
            // One that came and went, so that what only the first start loads is not taken for what a machine costs.
            await ravel.MeasureStartAsync(cancellationToken);
            var none = await MeasureIdleAsync(ravel.DaemonPid, cancellationToken);
            for (var i = 0; i < count; i++)
            {
                var machine = await ravel.CreateAsync(cancellationToken, guest: new GuestSize { Cpus = 1, MemoryMb = MachineMib });
                machines.Add(machine);
                Console.WriteLine($"  machine {i + 1,3} runs after {(await ravel.StartAsync(machine, cancellationToken)).TotalSeconds,6:0.000} s");
            }
            var all = await MeasureIdleAsync(ravel.DaemonPid, cancellationToken);
            rows.Add(["resident memory", Mib(none.ResidentKib), Mib(all.ResidentKib)]);
            rows.Add(["proportional memory", Mib(none.ProportionalKib), Mib(all.ProportionalKib)]);
            rows.Add(["per machine, resident", "", string.Create(CultureInfo.InvariantCulture, $"{(all.ResidentKib - none.ResidentKib) / count} KiB")]);
            rows.Add(["CPU while idle", Percent(none.Cpu), Percent(all.Cpu)]);

            var adoptions = new Samples("taken over", []);
            for (var i = 0; i < Adoptions; i++)
                adoptions.Add(await MeasureAdoptionAsync(ravel, machines, cancellationToken));
            rows.Add(["taken over in", "", string.Create(CultureInfo.InvariantCulture, $"{adoptions.Median.TotalSeconds:0.000} s")]);
        }
        finally
        {
            foreach (var machine in machines)
                await ravel.DestroyAsync(machine);
        }
        var table = ResultTable.Render(rows);
        Console.WriteLine();
        Console.Write(table);
        if (write)
            await BenchmarksPage.WriteAsync("daemon", "daemon --write", Explanation, table, cancellationToken);
        return 0;
    }

    private static async Task<(long ResidentKib, long ProportionalKib, double Cpu)> MeasureIdleAsync(int pid, CancellationToken cancellationToken)
    {
        await Task.Delay(SettleTime, cancellationToken);
        var (resident, proportional) = (ProcessFigures.ResidentKib(pid), ProcessFigures.ProportionalKib(pid));
        var (began, cpu) = (Stopwatch.GetTimestamp(), ProcessFigures.CpuTime(pid));
        await Task.Delay(IdleTime, cancellationToken);
        var share = (ProcessFigures.CpuTime(pid) - cpu) / Stopwatch.GetElapsedTime(began);
        Console.WriteLine($"  idle: {Mib(resident)} resident, {Mib(proportional)} proportional, {Percent(share)} of a CPU");
        return (resident, proportional, share);
    }

    private static async Task<TimeSpan> MeasureAdoptionAsync(RavelUnderTest ravel, IReadOnlyList<Machine> machines, CancellationToken cancellationToken)
    {
        await ravel.KillDaemonAsync(cancellationToken);
        var began = Stopwatch.GetTimestamp();
        await ravel.UpAgainAsync(cancellationToken);
        var taken = Stopwatch.GetElapsedTime(began);
        foreach (var machine in machines)
            await ravel.ExecAsync(machine, ["true"], cancellationToken);
        Console.WriteLine($"  taken over: up after {taken.TotalSeconds:0.000} s, a command run in each after {Stopwatch.GetElapsedTime(began).TotalSeconds:0.000} s");
        return taken;
    }

    private static string Mib(long kib) => string.Create(CultureInfo.InvariantCulture, $"{kib / 1024.0:0.0} MiB");

    private static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{share * 100:0.00} %");
}
