using System.Runtime.InteropServices;

namespace Ravel.Linux.Guest;

/// <summary>What kind of thing a path names (inode(7)).</summary>
public enum FileKind : uint
{
    Fifo = 0x1000,
    CharacterDevice = 0x2000,
    Directory = 0x4000,
    BlockDevice = 0x6000,
    Regular = 0x8000,
    SymbolicLink = 0xa000,
    Socket = 0xc000,
}

/// <summary>stat(2).</summary>
/// <param name="Device">Of the file system it is on.</param>
/// <param name="Inode">There.</param>
/// <param name="Links">Names it has.</param>
/// <param name="Kind">What it is.</param>
/// <param name="Mode">Permissions, with set-id and sticky bits.</param>
/// <param name="UserId">Its owner.</param>
/// <param name="GroupId">Its group.</param>
/// <param name="DeviceMajor">Of a device file.</param>
/// <param name="DeviceMinor">Of a device file.</param>
/// <param name="Size">In bytes.</param>
/// <param name="Modified">Nanoseconds since the Unix epoch.</param>
public readonly record struct FileStatus(
    ulong Device, ulong Inode, ulong Links, FileKind Kind, uint Mode, uint UserId, uint GroupId, int DeviceMajor, int DeviceMinor, long Size, long Modified)
{
    private const long Second = 1_000_000_000;

    /// <param name="path">What is asked about.</param>
    /// <param name="follow">Whether a symbolic link at its end stands for its target.</param>
    /// <returns>Null when there is nothing.</returns>
    /// <exception cref="SystemCallException">It cannot be said.</exception>
    public static unsafe FileStatus? Of(string path, bool follow)
    {
        Raw raw;
        // SAFETY: stat fills struct stat, whose 144 bytes of x86-64 Raw has.
        var result = follow ? GuestCalls.Stat(path, &raw) : GuestCalls.LinkStat(path, &raw);
        if (result == 0)
        {
            const uint KindMask = 0xf000;
            return new FileStatus(
                raw.Device, raw.Inode, raw.Links, (FileKind)(raw.Mode & KindMask), raw.Mode & ~KindMask, raw.UserId, raw.GroupId,
                MajorOf(raw.OwnDevice), MinorOf(raw.OwnDevice), raw.Size, (raw.Modified.Seconds * Second) + raw.Modified.Nanoseconds);
        }
        var error = Marshal.GetLastPInvokeError();
        return error is Errno.NotFound or Errno.NotADirectory ? null : throw new SystemCallException(path, error);
    }

    internal static ulong DeviceOf(int major, int minor)
    {
        var (high, low) = ((ulong)(uint)major, (ulong)(uint)minor);
        return (low & 0xff) | ((high & 0xfff) << 8) | ((low & ~0xfful) << 12) | ((high & ~0xffful) << 32);
    }

    internal static int MajorOf(ulong device) => (int)(((device >> 8) & 0xfff) | ((device >> 32) & ~0xffful));

    internal static int MinorOf(ulong device) => (int)((device & 0xff) | ((device >> 12) & ~0xfful));

    [StructLayout(LayoutKind.Sequential, Size = 144)]
    internal struct Raw
    {
        public ulong Device;
        public ulong Inode;
        public ulong Links;
        public uint Mode;
        public uint UserId;
        public uint GroupId;
        public uint Padding;
        public ulong OwnDevice;
        public long Size;
        public long BlockSize;
        public long Blocks;
        public TimeSpec Accessed;
        public TimeSpec Modified;
        public TimeSpec Changed;
    }
}
