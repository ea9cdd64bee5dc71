using System.Globalization;

namespace Ravel.Agent.Capacity;

/// <summary>What the host has, by its kernel's account.</summary>
internal static class HostCapacity
{
    /// <param name="dataDirectory">Where disks lie.</param>
    /// <param name="usedDiskMib">Promised already to machines that are here.</param>
    /// <param name="options">How much of it may be promised.</param>
    public static NodeShare Read(string dataDirectory, long usedDiskMib, CapacityOptions options)
    {
        var free = new DriveInfo(dataDirectory).AvailableFreeSpace / (1024 * 1024);
        return new NodeShare(
            (int)(Environment.ProcessorCount * options.CpuOvercommit),
            Math.Max(0, TotalMemoryMib(File.ReadLines("/proc/meminfo")) - options.ReservedMemoryMib),
            (long)(free * options.DiskOvercommit) + usedDiskMib,
            options.MaxMachines);
    }

    /// <summary>MemTotal of /proc/meminfo (proc(5)), which is in KiB.</summary>
    internal static long TotalMemoryMib(IEnumerable<string> lines)
    {
        foreach (var line in lines)
        {
            if (line.StartsWith("MemTotal:", StringComparison.Ordinal))
            {
                var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                return long.Parse(words[1], NumberStyles.None, CultureInfo.InvariantCulture) / 1024;
            }
        }
        throw new InvalidDataException("/proc/meminfo has no MemTotal");
    }
}
