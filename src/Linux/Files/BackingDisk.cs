using System.Globalization;
using Ravel.Linux.Guest;

namespace Ravel.Linux.Files;

/// <summary>The disk of the host that a file is on.</summary>
public static class BackingDisk
{
    /// <summary>
    /// MAJOR:MINOR of the whole disk: I/O is limited for disks, not for partitions (cgroup-v2.rst, io.max). Null for a file system that is on no
    /// one disk (tmpfs, btrfs, overlay), or a file that is not there.
    /// </summary>
    /// <param name="path">A file or directory.</param>
    /// <param name="blockDevices">Where the kernel lists block devices by number.</param>
    public static string? Of(string path, string blockDevices = "/sys/dev/block") =>
        FileStatus.Of(path, follow: true) is { } status ? DiskOf(FileStatus.MajorOf(status.Device), FileStatus.MinorOf(status.Device), blockDevices) : null;

    internal static string? DiskOf(int major, int minor, string blockDevices)
    {
        var number = string.Create(CultureInfo.InvariantCulture, $"{major}:{minor}");
        var device = Path.Combine(blockDevices, number);
        if (!Directory.Exists(device))
            return null;
        if (!File.Exists(Path.Combine(device, "partition")))
            return number;
        // A partition's directory is inside its disk's; the link leads there.
        var target = new DirectoryInfo(device).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? device;
        var disk = Path.Combine(Path.GetDirectoryName(target)!, "dev");
        return File.Exists(disk) ? File.ReadAllText(disk).Trim() : null;
    }
}
