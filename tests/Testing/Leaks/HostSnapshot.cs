using System.Globalization;
using Ravel.Linux.Processes;

namespace Ravel.Testing.Leaks;

/// <summary>
/// Everything on this host of the kinds that Ravel makes. Two snapshots, before and after, tell what was left behind.
/// Needs root to see nftables; the rest is read from /proc and /sys.
/// </summary>
public sealed class HostSnapshot
{
    /// <summary>Names in /proc/PID/comm (cut to 15 bytes there, proc(5)).</summary>
    private static readonly HashSet<string> Programs = new(StringComparer.Ordinal)
    {
        "qemu-system-x86", "firecracker", "jailer", "raveld", "docker-registry",
    };

    private HostSnapshot(IReadOnlyCollection<HostResource> resources) => Resources = resources;

    public IReadOnlyCollection<HostResource> Resources { get; }

    public static async Task<HostSnapshot> TakeAsync(CancellationToken cancellationToken)
    {
        var found = new List<HostResource>();
        found.AddRange(ReadProcesses());
        found.AddRange(Entries("/sys/class/net").Select(name => new HostResource(HostResourceKind.NetworkInterface, name)));
        found.AddRange(Entries("/run/netns").Select(name => new HostResource(HostResourceKind.NetworkNamespace, name)));
        found.AddRange(await ReadNftTablesAsync(cancellationToken));
        found.AddRange(ParseMounts(File.ReadAllText("/proc/self/mountinfo")));
        found.AddRange(ReadCgroups());
        found.AddRange(ReadLoopDevices());
        found.AddRange(Entries("/run/ravel").Select(name => new HostResource(HostResourceKind.RunDirectory, "/run/ravel/" + name)));
        return new HostSnapshot(found);
    }

    public static HostSnapshot Of(IEnumerable<HostResource> resources) => new([.. resources]);

    /// <summary>What is in <paramref name="after"/> and was not here.</summary>
    public IReadOnlyList<HostResource> LeftoversIn(HostSnapshot after)
    {
        var known = Resources.ToHashSet();
        return [.. after.Resources.Where(resource => !known.Contains(resource))];
    }

    /// <summary>
    /// What is left behind compared with now. Gives what is going away on its own up to <paramref name="patience"/> for it:
    /// a killed process is reaped, and its tap and cgroup freed, a moment after the kill.
    /// </summary>
    public async Task<IReadOnlyList<HostResource>> FindLeftoversAsync(
        TimeSpan patience, TimeProvider time, CancellationToken cancellationToken)
    {
        var began = time.GetTimestamp();
        while (true)
        {
            var leftovers = LeftoversIn(await TakeAsync(cancellationToken));
            if (leftovers.Count == 0 || time.GetElapsedTime(began) >= patience)
                return leftovers;
            await Task.Delay(TimeSpan.FromMilliseconds(200), time, cancellationToken);
        }
    }

    private static IEnumerable<HostResource> ReadProcesses()
    {
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(directory), NumberStyles.None, CultureInfo.InvariantCulture, out var pid))
                continue;
            string status, commandLine;
            try
            {
                status = File.ReadAllText($"{directory}/stat");
                commandLine = File.ReadAllText($"{directory}/cmdline");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                continue; // It ended while we looked.
            }
            if (ParseProcess(pid, status, commandLine) is { } process)
                yield return process;
        }
    }

    /// <summary>One of our programs, from its /proc/PID/stat and cmdline (proc(5)); null for another program or a zombie.</summary>
    internal static HostResource? ParseProcess(int pid, string status, string commandLine)
    {
        // The name is in parentheses and may hold any byte, parentheses too: the last ')' ends it.
        var open = status.IndexOf('(', StringComparison.Ordinal);
        var close = status.LastIndexOf(')');
        if (open < 0 || close < open)
            return null;
        var name = status[(open + 1)..close];
        var fields = status[(close + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (!Programs.Contains(name) || fields.Length < 20 || fields[0] == "Z")
            return null;
        var words = commandLine.TrimEnd('\0').Replace('\0', ' ');
        // A pid may be used again: with the start time (field 22) it names one process.
        return new HostResource(HostResourceKind.Process, $"{name} {pid}@{fields[19]}", words.Length > 160 ? words[..160] + "…" : words);
    }

    /// <summary>Mount points by id: the same directory mounted twice is two mounts (proc(5), mountinfo).</summary>
    internal static IEnumerable<HostResource> ParseMounts(string mountInfo)
    {
        foreach (var line in mountInfo.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var fields = line.Split(' ');
            if (fields.Length > 4)
                yield return new HostResource(HostResourceKind.Mount, $"{fields[4]} #{fields[0]}");
        }
    }

    private static async Task<IEnumerable<HostResource>> ReadNftTablesAsync(CancellationToken cancellationToken)
    {
        CommandResult listed;
        try
        {
            listed = await CommandRunner.RunAsync("nft", ["list", "tables"], cancellationToken: cancellationToken);
        }
        catch (CommandException)
        {
            return []; // Without nft nothing of ours can have made a table.
        }
        return listed.Output
            .Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Select(line => new HostResource(HostResourceKind.NftTable, line));
    }

    /// <summary>Control groups below one named after Ravel, in whatever hierarchies the host has.</summary>
    private static List<HostResource> ReadCgroups()
    {
        var found = new List<HostResource>();
        var options = new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true };
        if (!Directory.Exists("/sys/fs/cgroup"))
            return found;
        foreach (var directory in Directory.EnumerateDirectories("/sys/fs/cgroup", "*", options))
        {
            if (directory.Contains("/ravel", StringComparison.Ordinal))
                found.Add(new HostResource(HostResourceKind.Cgroup, directory));
        }
        return found;
    }

    private static IEnumerable<HostResource> ReadLoopDevices()
    {
        foreach (var name in Entries("/sys/block").Where(name => name.StartsWith("loop", StringComparison.Ordinal)))
        {
            string backing;
            try
            {
                backing = File.ReadAllText($"/sys/block/{name}/loop/backing_file").Trim();
            }
            catch (IOException)
            {
                continue; // Nothing is attached.
            }
            yield return new HostResource(HostResourceKind.LoopDevice, $"/dev/{name} {backing}");
        }
    }

    private static IEnumerable<string> Entries(string directory) =>
        Directory.Exists(directory)
            ? Directory.EnumerateFileSystemEntries(directory).Select(path => Path.GetFileName(path))
            : [];
}
