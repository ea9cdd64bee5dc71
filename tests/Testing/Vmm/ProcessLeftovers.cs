using Ravel.Linux.Cgroups;
using Ravel.Vmm;

namespace Ravel.Testing.Vmm;

/// <summary>What a VM that is a process has left on the host.</summary>
public static class ProcessLeftovers
{
    /// <summary>Its control group, the contents of its run directory, and processes that have its id among their arguments.</summary>
    public static IReadOnlyList<string> Of(VmSpec spec, CgroupTree cgroups) =>
    [
        .. cgroups.Open(spec.Cgroup).Directories.Where(Directory.Exists),
        .. Directory.EnumerateFileSystemEntries(spec.RunDirectory),
        .. Processes(spec.Id),
    ];

    private static IEnumerable<string> Processes(string id)
    {
        foreach (var directory in Directory.EnumerateDirectories("/proc").Where(path => char.IsAsciiDigit(Path.GetFileName(path)[0])))
        {
            string command;
            try
            {
                command = File.ReadAllText(Path.Combine(directory, "cmdline"));
            }
            catch (IOException)
            {
                continue;
            }
            if (command.Split('\0').Contains(id))
                yield return $"process {Path.GetFileName(directory)}: {command.Replace('\0', ' ')}";
        }
    }
}
