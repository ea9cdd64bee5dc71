using System.Globalization;
using Ravel.Cli.Connection;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Daemon;

/// <summary>Whether the daemon of a data directory runs, told by its pid and start time: a pid alone may be another's by now.</summary>
internal static class DaemonProcess
{
    /// <summary>The daemon that wrote <c>client.json</c>, if it still runs.</summary>
    public static ClientConfig? FindRunning(string directory) =>
        DataDirectory.ReadClient(directory) is { } client && IsAlive(client) ? client : null;

    public static bool IsAlive(ClientConfig client)
    {
        try
        {
            return StartTime(File.ReadAllText($"/proc/{client.Pid}/stat")) == client.PidStartTime;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>
    /// Field 22 of proc_pid_stat(5), in clock ticks since boot; null for a zombie, which has ended. The name in field 2 may
    /// contain blanks and parentheses, so that fields are counted from its last ')'.
    /// </summary>
    public static ulong? StartTime(string stat)
    {
        var fields = stat[(stat.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return fields.Length > 19 && fields[0] is not ("Z" or "X")
            && ulong.TryParse(fields[19], NumberStyles.None, CultureInfo.InvariantCulture, out var ticks)
            ? ticks
            : null;
    }
}
