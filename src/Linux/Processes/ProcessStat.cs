using System.Globalization;

namespace Ravel.Linux.Processes;

/// <summary>The fields of /proc/PID/stat (proc(5)) Ravel uses.</summary>
/// <param name="State">One letter: R, S, D, T, Z (zombie), X (dead), …</param>
/// <param name="ParentPid">The parent, 0 when it lives in another pid namespace.</param>
/// <param name="CpuTime">User and system time of all threads.</param>
/// <param name="StartTime">Clock ticks after boot.</param>
/// <param name="ResidentBytes">Resident set size.</param>
public sealed record ProcessStat(char State, int ParentPid, TimeSpan CpuTime, ulong StartTime, long ResidentBytes)
{
    /// <summary>USER_HZ, which the kernel fixes at 100 on every architecture .NET runs on.</summary>
    private const int TicksPerSecond = 100;

    public bool IsRunning => State is not ('Z' or 'X' or 'x');

    /// <summary>Null when there is no such process.</summary>
    public static ProcessStat? Read(int pid)
    {
        try
        {
            return Parse(File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/stat")));
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>
    /// Null when the text is not a stat line. The second field is the program's name in parentheses, chosen by the
    /// program: it may hold spaces and parentheses itself, so fields are counted from the last closing one.
    /// </summary>
    public static ProcessStat? Parse(string text)
    {
        var end = text.LastIndexOf(')');
        if (end < 0 || end + 2 >= text.Length)
            return null;
        // The first of these is field 3 of proc(5).
        var fields = text[(end + 2)..].Split(' ');
        if (fields.Length < 22
            || fields[0].Length != 1
            || !int.TryParse(fields[1], CultureInfo.InvariantCulture, out var parent)
            || !ulong.TryParse(fields[11], CultureInfo.InvariantCulture, out var user)
            || !ulong.TryParse(fields[12], CultureInfo.InvariantCulture, out var system)
            || !ulong.TryParse(fields[19], CultureInfo.InvariantCulture, out var start)
            || !long.TryParse(fields[21], CultureInfo.InvariantCulture, out var pages))
        {
            return null;
        }
        var cpu = TimeSpan.FromSeconds((user + system) / (double)TicksPerSecond);
        return new ProcessStat(fields[0][0], parent, cpu, start, pages * Environment.SystemPageSize);
    }
}
