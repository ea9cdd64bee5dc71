using System.Globalization;

namespace Ravel.Bench.Daemon;

/// <summary>What the kernel says of a process (proc(5)).</summary>
internal static class ProcessFigures
{
    /// <summary>Clock ticks per second; 100 on every Linux that .NET runs on (sysconf(_SC_CLK_TCK)).</summary>
    private const double TicksPerSecond = 100;

    /// <summary>VmRSS, in KiB.</summary>
    public static long ResidentKib(int pid) => Kib($"/proc/{pid}/status", "VmRSS:");

    /// <summary>As <see cref="ResidentKib"/>, with pages that several processes share counted in parts; in KiB.</summary>
    public static long ProportionalKib(int pid) => Kib($"/proc/{pid}/smaps_rollup", "Pss:");

    /// <summary>Time on a CPU, of all its threads, in user and kernel mode.</summary>
    public static TimeSpan CpuTime(int pid)
    {
        var stat = File.ReadAllText($"/proc/{pid}/stat");
        // The name is in parentheses and may hold anything; utime and stime are the 12th and 13th after it.
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return TimeSpan.FromSeconds((long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)) / TicksPerSecond);
    }

    /// <summary>It runs: neither gone nor a zombie.</summary>
    public static bool IsRunning(int pid)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            return !stat[(stat.LastIndexOf(')') + 2)..].StartsWith('Z');
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static long Kib(string file, string field)
    {
        var line = File.ReadLines(file).First(line => line.StartsWith(field, StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }
}
