using System.Runtime.InteropServices;
using Ravel.Linux.Processes;

namespace Ravel.Daemon.Doctor;

/// <summary>What the host itself has to offer, apart from VMM and guest.</summary>
internal static class HostChecks
{
    private const long GiB = 1L << 30;

    /// <summary>Below this a rootfs and a few disks do not fit.</summary>
    private const long LeastFreeBytes = 2 * GiB;

    public static DoctorCheck Platform() =>
        OperatingSystem.IsLinux() && RuntimeInformation.OSArchitecture == Architecture.X64
            ? new("platform", DoctorStatus.Ok, $"Linux {Environment.OSVersion.Version}, x86-64")
            : new("platform", DoctorStatus.Fail, $"{RuntimeInformation.OSDescription}, {RuntimeInformation.OSArchitecture}",
                "run Ravel on Linux on x86-64");

    public static DoctorCheck Privileges() =>
        Environment.IsPrivilegedProcess
            ? new("privileges", DoctorStatus.Ok, "running as root")
            : new("privileges", DoctorStatus.Fail, "not root: no taps, control groups or mounts can be made", "run it with sudo");

    public static async Task<DoctorCheck> FileSystemToolAsync(CancellationToken cancellationToken)
    {
        try
        {
            var result = await CommandRunner.RunAsync("mkfs.ext4", ["-V"], cancellationToken: cancellationToken);
            return new("mkfs.ext4", DoctorStatus.Ok, FirstLine(result.Error));
        }
        catch (CommandException e)
        {
            return new("mkfs.ext4", DoctorStatus.Fail, e.Message, "apt-get install e2fsprogs");
        }
    }

    public static DoctorCheck Disk(string dataDirectory)
    {
        var existing = new DirectoryInfo(dataDirectory);
        while (existing is { Exists: false, Parent: not null })
            existing = existing.Parent;
        var drive = new DriveInfo(existing.FullName);
        var text = $"{drive.AvailableFreeSpace / (double)GiB:0.0} GiB free on {drive.DriveFormat} for {dataDirectory}";
        return drive.AvailableFreeSpace >= LeastFreeBytes
            ? new("disk", DoctorStatus.Ok, text)
            : new("disk", DoctorStatus.Fail, text, $"free at least {LeastFreeBytes / GiB} GiB, or choose another place with --data");
    }

    private static string FirstLine(string text) => text.Trim().Split('\n')[0];
}
