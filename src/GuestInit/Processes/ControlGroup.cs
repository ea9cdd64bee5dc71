using System.Globalization;
using System.Text;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Processes;

/// <summary>
/// A control group of the guest (cgroups(7), version 2): the workload has one and the exec sessions share another, so that the kernel
/// itself counts whose processes it killed for want of memory. A kernel without them runs everything in one.
/// </summary>
internal sealed class ControlGroup
{
    private const string Root = "/sys/fs/cgroup";
    private const int MaxFile = 4096;

    private readonly string _path;

    private ControlGroup(string path) => _path = path;

    /// <summary>Makes the group; null when the kernel has no memory controller to count with.</summary>
    public static ControlGroup? Create(string name)
    {
        var path = $"{Root}/{name}";
        if (!FileSystems.TryWriteExisting($"{Root}/cgroup.subtree_control", "+memory"u8))
            return null;
        FileSystems.MakeDirectoryIfMissing(path, 0x1ed);
        return FileSystems.Exists($"{path}/memory.events") ? new ControlGroup(path) : null;
    }

    /// <summary>A descriptor for <see cref="ChildSpec.ControlGroup"/>; −1 when the workload has taken the group away.</summary>
    public int Open() => Math.Max(-1, Descriptors.TryOpen($"{_path}/cgroup.procs", Descriptors.WriteOnly));

    /// <summary>Processes of this group and those below it that the kernel has killed for want of memory.</summary>
    public long CountOomKills() =>
        ParseOomKills(Encoding.ASCII.GetString(FileSystems.ReadFile($"{_path}/memory.events", MaxFile) ?? []));

    internal static long ParseOomKills(string events)
    {
        foreach (var line in events.Split('\n'))
        {
            if (line.StartsWith("oom_kill ", StringComparison.Ordinal)
                && long.TryParse(line.AsSpan("oom_kill ".Length), NumberStyles.None, CultureInfo.InvariantCulture, out var count))
            {
                return count;
            }
        }
        return 0;
    }
}
