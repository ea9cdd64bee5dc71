using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Setup;

/// <summary>What has to be there before anything else: the runtime itself reads /proc.</summary>
internal static class EarlyMounts
{
    public static void Mount()
    {
        const MountFlags Safe = MountFlags.NoSuid | MountFlags.NoDev | MountFlags.NoExec;
        FileSystems.Mount("proc", "/proc", "proc", Safe);
        FileSystems.Mount("sysfs", "/sys", "sysfs", Safe);
        FileSystems.Mount("devtmpfs", "/dev", "devtmpfs", MountFlags.NoSuid, "mode=0755");
    }
}
