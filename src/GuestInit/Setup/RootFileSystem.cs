using Ravel.Contracts.Link;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Setup;

/// <summary>The image's read-only EROFS with a writable layer over it, made the root of everything.</summary>
internal sealed class RootFileSystem
{
    private const string Image = "/image";
    private const string Writable = "/writable";
    private const string Root = "/root";
    private const int DeviceWaitMilliseconds = 10_000;

    private int _initialRoot = -1;

    public void Mount(RootConfig config)
    {
        FileSystems.MakeDirectories(Image);
        FileSystems.MakeDirectories(Writable);
        FileSystems.MakeDirectories(Root);
        AwaitDevice(config.ReadOnlyDevice);
        FileSystems.Mount(config.ReadOnlyDevice, Image, "erofs", MountFlags.ReadOnly);
        if (config.WritableDevice is { } device)
        {
            AwaitDevice(device);
            FileSystems.Mount(device, Writable, "ext4", MountFlags.NoAccessTime);
            Grow(Writable, device);
        }
        else
        {
            FileSystems.Mount("tmpfs", Writable, "tmpfs");
        }
        FileSystems.MakeDirectories($"{Writable}/upper");
        FileSystems.MakeDirectories($"{Writable}/work");
        // redirect_dir: a directory of the image can be renamed, as on any other disk.
        FileSystems.Mount(
            "overlay", Root, "overlay", MountFlags.NoAccessTime,
            $"lowerdir={Image},upperdir={Writable}/upper,workdir={Writable}/work,redirect_dir=on");
    }

    /// <summary>Takes /proc, /sys and /dev along and leaves a way back for <see cref="MakeDurable"/>.</summary>
    public void Enter()
    {
        foreach (var name in (string[])["/proc", "/sys", "/dev"])
        {
            FileSystems.MakeDirectories(Root + name);
            FileSystems.Move(name, Root + name);
        }
        _initialRoot = Descriptors.Open("/", Descriptors.ReadOnly | Descriptors.Directory);
        FileSystems.SwitchRoot(Root);
    }

    /// <summary>What a Linux program expects besides the image, where Docker puts it. Nothing of the image is hidden.</summary>
    public static void Furnish()
    {
        const MountFlags Safe = MountFlags.NoSuid | MountFlags.NoDev | MountFlags.NoExec;
        FileSystems.MakeDirectories("/dev/pts");
        FileSystems.Mount("devpts", "/dev/pts", "devpts", MountFlags.NoSuid | MountFlags.NoExec, "gid=5,mode=620,ptmxmode=666");
        FileSystems.MakeDirectories("/dev/shm");
        FileSystems.Mount("shm", "/dev/shm", "tmpfs", Safe, "mode=1777");
        FileSystems.MakeDirectories("/dev/mqueue");
        // Kernels without them run everything that does not ask for them.
        _ = FileSystems.TryMount("mqueue", "/dev/mqueue", "mqueue", Safe);
        _ = FileSystems.TryMount("cgroup2", "/sys/fs/cgroup", "cgroup2", Safe);
        FileSystems.Symlink("/proc/self/fd", "/dev/fd");
        FileSystems.Symlink("/proc/self/fd/0", "/dev/stdin");
        FileSystems.Symlink("/proc/self/fd/1", "/dev/stdout");
        FileSystems.Symlink("/proc/self/fd/2", "/dev/stderr");
        FileSystems.MakeDirectoryIfMissing("/tmp", 0x3ff);
        FileSystems.MakeDirectoryIfMissing("/run", 0x1ed);
        FileSystems.MakeDirectoryIfMissing("/etc", 0x1ed);
    }

    /// <summary>At the end, when every process is gone: all that was written is on the disk and the disk is at rest.</summary>
    public void MakeDurable()
    {
        Machine.Sync();
        if (_initialRoot < 0)
            return;
        _ = FileSystems.TryRemountReadOnly("/");
        if (!FileSystems.TryReturnToRoot(_initialRoot))
            return;
        var error = FileSystems.TryRemountReadOnly(Writable);
        if (error != 0)
            GuestConsole.Say($"the writable disk could not be put to rest (error {error}); it was synchronised");
        Machine.Sync();
    }

    /// <summary>A disk is made larger from outside and its file system from here; one that stays small is better than none.</summary>
    internal static void Grow(string path, string device)
    {
        if (Ext4.TryGrowToDevice(path, device) is { } refusal)
            GuestConsole.Say($"the file system of {device} could not be grown: {refusal}");
    }

    internal static void AwaitDevice(string path)
    {
        const int Step = 10;
        for (var waited = 0; !FileSystems.Exists(path); waited += Step)
        {
            if (waited >= DeviceWaitMilliseconds)
                throw new SetupException(SetupException.SetupFailed, $"there is no {path}: the VMM did not provide the disk, or the kernel has no driver for it");
            Descriptors.Poll([], Step);
        }
    }
}
