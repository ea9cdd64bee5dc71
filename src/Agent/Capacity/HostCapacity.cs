using System.Globalization;

namespace Ravel.Agent.Capacity;

/// <summary>What the host has, by its kernel's account.</summary>
internal static class HostCapacity
{
    /// <summary>All but the disk, which is looked at whenever it is asked for (<see cref="DiskRoom"/>).</summary>
    /// <param name="options">How much of it may be promised.</param>
    public static NodeShare Read(CapacityOptions options) => new(
        (int)(Environment.ProcessorCount * options.CpuOvercommit),
        Math.Max(0, TotalMemoryMib(File.ReadLines("/proc/meminfo")) - options.ReservedMemoryMib),
        0,
        options.MaxMachines);

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
