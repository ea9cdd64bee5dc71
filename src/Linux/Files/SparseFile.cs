using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Files;

/// <summary>Copies files with holes.</summary>
public static partial class SparseFile
{
    // linux/fs.h, ioctl_ficlonerange(2); lseek(2).
    private const ulong FiClone = 0x40049409;
    private const int SeekData = 3;
    private const int SeekHole = 4;
    private const int NoSuchDeviceOrAddress = 6;

    /// <summary>
    /// Makes <paramref name="target"/> a copy: sharing blocks where the file system can, else of the parts that are no holes.
    /// An existing target is replaced. Not synced.
    /// </summary>
    /// <exception cref="IOException">It could not be read or written; the target may be half there.</exception>
    public static void Copy(string source, string target)
    {
        using var from = File.OpenHandle(source);
        using var to = File.OpenHandle(target, FileMode.Create, FileAccess.ReadWrite);
        if (Ioctl(to, FiClone, (int)from.DangerousGetHandle()) != 0)
            CopyData(from, to);
    }

    /// <summary>Copies what is no hole into an empty file, which becomes as long.</summary>
    internal static void CopyData(SafeFileHandle from, SafeFileHandle to)
    {
        RandomAccess.SetLength(to, RandomAccess.GetLength(from));
        var buffer = new byte[256 * 1024];
        long end = 0;
        while (TrySeek(from, end, SeekData, out var begin))
        {
            if (!TrySeek(from, begin, SeekHole, out end))
                end = RandomAccess.GetLength(from);
            for (var at = begin; at < end;)
            {
                var read = RandomAccess.Read(from, buffer.AsSpan(0, (int)Math.Min(buffer.Length, end - at)), at);
                if (read == 0)
                    return;
                RandomAccess.Write(to, buffer.AsSpan(0, read), at);
                at += read;
            }
        }
    }

    /// <summary>
    /// Makes <paramref name="target"/> share the blocks of <paramref name="source"/> as they are at one moment, also of a file that
    /// is being written.
    /// </summary>
    /// <returns>False when the file system cannot; nothing is left then.</returns>
    public static bool TryClone(string source, string target)
    {
        bool isCloned;
        using (var from = File.OpenHandle(source, share: FileShare.ReadWrite))
        using (var to = File.OpenHandle(target, FileMode.Create, FileAccess.ReadWrite))
            isCloned = Ioctl(to, FiClone, (int)from.DangerousGetHandle()) == 0;
        if (!isCloned)
            File.Delete(target);
        return isCloned;
    }

    private static bool TrySeek(SafeFileHandle file, long offset, int whence, out long position)
    {
        position = Seek(file, offset, whence);
        if (position >= 0)
            return true;
        var error = Marshal.GetLastPInvokeError();
        // ENXIO: no data (or hole) from there on.
        return error == NoSuchDeviceOrAddress ? false : throw new IOException("lseek failed", new Win32Exception(error));
    }

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Ioctl(SafeFileHandle file, ulong request, int argument);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    private static partial long Seek(SafeFileHandle file, long offset, int whence);
}
