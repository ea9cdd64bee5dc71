namespace Ravel.Linux.Guest;

/// <summary>What the kernel can do with an ext4 file system that is mounted.</summary>
public static unsafe class Ext4
{
    // linux/fs.h and fs/ext4/ext4.h: BLKGETSIZE64 is _IOR(0x12, 114, size_t), EXT4_IOC_RESIZE_FS is _IOW('f', 16, __u64), FIGETBSZ is _IO(0x00, 2).
    private const nuint GetDeviceSize = 0x80081272;
    private const nuint ResizeFileSystem = 0x40086610;
    private const nuint GetBlockSize = 2;

    /// <summary>Grows a mounted file system to the size of its device; one that fills it already stays as it is.</summary>
    /// <returns>Why the kernel refuses; null when it does not.</returns>
    public static string? TryGrowToDevice(string path, string device)
    {
        try
        {
            GrowToDevice(path, device);
            return null;
        }
        catch (SystemCallException e)
        {
            return e.Message;
        }
    }

    private static void GrowToDevice(string path, string device)
    {
        ulong size;
        Ask(device, GetDeviceSize, &size);
        int blockSize;
        Ask(path, GetBlockSize, &blockSize);
        var blocks = size / (ulong)blockSize;
        Ask(path, ResizeFileSystem, &blocks);
    }

    private static void Ask(string path, nuint request, void* argument)
    {
        var fd = Descriptors.Open(path, Descriptors.ReadOnly);
        try
        {
            // SAFETY: each request above reads or writes what its caller passes: 8 bytes, 4 for the block size.
            if (GuestCalls.Ioctl(fd, request, argument) < 0)
                throw SystemCallException.Last(path);
        }
        finally
        {
            Descriptors.Close(fd);
        }
    }
}
