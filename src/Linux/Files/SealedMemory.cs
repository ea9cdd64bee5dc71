using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Files;

/// <summary>
/// Files in memory that stay as they were made (memfd_create(2), fcntl(2) "File Sealing"): many processes that do not trust each other can map
/// one privately, opened for writing even, and none can change it for the others.
/// </summary>
public static partial class SealedMemory
{
    private const uint CloseOnExec = 1;
    private const uint AllowSealing = 2;
    private const int AddSeals = 1033;
    private const int AllSeals = 0x1 | 0x2 | 0x4 | 0x8; // SEAL, SHRINK, GROW, WRITE

    /// <summary>A copy of a file; its holes take no memory. Lives as long as somebody has it open or mapped.</summary>
    /// <exception cref="IOException">The file cannot be read, or there is no memory.</exception>
    public static SafeFileHandle CopyOf(string path)
    {
        using var from = File.OpenHandle(path, share: FileShare.ReadWrite | FileShare.Delete);
        var memory = MemoryFile(Path.GetFileName(path), CloseOnExec | AllowSealing);
        try
        {
            if (memory.IsInvalid)
                throw Failure(path);
            SparseFile.CopyData(from, memory);
            return Control(memory, AddSeals, AllSeals) == 0 ? memory : throw Failure(path);
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    private static IOException Failure(string path) => new($"{path} could not be copied into memory: {Marshal.GetLastPInvokeErrorMessage()}");

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial SafeFileHandle MemoryFile(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Control(SafeFileHandle file, int command, int argument);
}
