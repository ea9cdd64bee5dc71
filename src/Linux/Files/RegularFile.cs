using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Files;

/// <summary>
/// Opens what strangers put into a directory. <see cref="File"/> would block on a FIFO until somebody writes to it, and opening a
/// device can do things.
/// </summary>
public static unsafe partial class RegularFile
{
    // open(2): O_NONBLOCK opens a FIFO at once and changes nothing for a regular file; O_CLOEXEC.
    private const int ReadOnlyNonBlockingCloseOnExec = 0x800 | 0x80000;
    private const int ENoEntry = 2;
    private const int ENotDirectory = 20;
    private const int EInterrupted = 4;

    /// <summary>Opens a regular file to be read; symbolic links are followed. Null when there is none.</summary>
    /// <exception cref="InvalidDataException">It is a FIFO, a device, a socket or a directory.</exception>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public static SafeFileHandle? TryOpen(string path)
    {
        int descriptor;
        while ((descriptor = Open(path, ReadOnlyNonBlockingCloseOnExec)) < 0)
        {
            var errno = Marshal.GetLastPInvokeError();
            if (errno is ENoEntry or ENotDirectory)
                return null;
            if (errno != EInterrupted)
                throw new IOException($"{path} could not be opened: {new Win32Exception(errno).Message}");
        }
        var file = new SafeFileHandle(descriptor, ownsHandle: true);
        if (IsRegular(descriptor))
            return file;
        file.Dispose();
        throw new InvalidDataException($"{path} is not a regular file");
    }

    private static bool IsRegular(int descriptor)
    {
        // struct statx has 256 bytes, its stx_mode is 16 bits at 28 on every architecture (statx(2)); AT_EMPTY_PATH, STATX_TYPE.
        var status = stackalloc byte[256];
        return Statx(descriptor, "", 0x1000, 1, status) == 0 && (*(ushort*)(status + 28) & 0xf000) == 0x8000;
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int directory, string path, int flags, uint mask, byte* status);
}
