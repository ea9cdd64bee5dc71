using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Files;

/// <summary>What .NET's file API lacks for large images: holes, early write-back, and durable directory entries.</summary>
public static partial class FileBlocks
{
    private const int FallocKeepSize = 0x01;
    private const int FallocPunchHole = 0x02;
    private const uint SyncFileRangeWrite = 2;
    private const int OpenDirectory = 0x10000;
    private const int OpenCloseOnExec = 0x80000;
    private const int CurrentDirectory = -100;
    private const uint RenameExchange = 2;
    private const int InvalidArgument = 22;
    private const int NoSuchCall = 38;
    private const int NoSuchEntry = 2;
    private const int NotADirectory = 20;
    private const int NoFollow = 0x100;
    private const uint StatxSize = 0x200;
    private const uint StatxBlocks = 0x400;

    /// <summary>The unit of stx_blocks, whatever the file system's own is.</summary>
    private const int StatBlock = 512;

    /// <summary>A file's length, and what it takes of the disk, in bytes (statx(2)). Null when it is not there.</summary>
    /// <exception cref="IOException">It cannot be looked at.</exception>
    public static FileUsage? UsageOf(string path)
    {
        if (Statx(CurrentDirectory, path, NoFollow, StatxSize | StatxBlocks, out var status) == 0)
            return new FileUsage((long)status.Size, (long)status.Blocks * StatBlock);
        var error = Marshal.GetLastPInvokeError();
        return error is NoSuchEntry or NotADirectory
            ? null
            : throw new IOException($"{path} could not be looked at: {Marshal.GetPInvokeErrorMessage(error)}", error);
    }

    /// <summary>
    /// Gives the space of a range back to the file system; it reads as zeros from then on (fallocate(2)).
    /// </summary>
    /// <returns>False when the file system has no holes; nothing was changed.</returns>
    public static bool TryPunchHole(SafeFileHandle file, long offset, long length) =>
        Fallocate(file, FallocPunchHole | FallocKeepSize, offset, length) == 0;

    /// <summary>
    /// Starts writing a range to the disk without waiting, so that a later flush has less left (sync_file_range(2)).
    /// A hint: errors come out of the flush.
    /// </summary>
    public static void StartWriteback(SafeFileHandle file, long offset, long length) =>
        _ = SyncFileRange(file, offset, length, SyncFileRangeWrite);

    /// <summary>Makes the names in a directory survive a power cut (fsync(2) of the directory).</summary>
    /// <exception cref="IOException">The directory cannot be opened or flushed.</exception>
    public static void SyncDirectory(string path)
    {
        using var directory = Open(path, OpenDirectory | OpenCloseOnExec);
        if (directory.IsInvalid || Fsync(directory) != 0)
            throw new IOException($"{path} could not be flushed: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
    }

    /// <summary>Has two names change places, atomically (renameat2(2), RENAME_EXCHANGE).</summary>
    /// <returns>False when the file system cannot do that; nothing was changed.</returns>
    /// <exception cref="IOException">It failed for another reason.</exception>
    public static bool TryExchange(string left, string right)
    {
        if (RenameAt2(CurrentDirectory, left, CurrentDirectory, right, RenameExchange) == 0)
            return true;
        var error = Marshal.GetLastPInvokeError();
        return error is InvalidArgument or NoSuchCall
            ? false
            : throw new IOException($"{left} and {right} could not change places: {Marshal.GetPInvokeErrorMessage(error)}", error);
    }

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int directory, string path, int flags, uint mask, out StatxBuffer status);

    [LibraryImport("libc", EntryPoint = "renameat2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameAt2(int leftDirectory, string left, int rightDirectory, string right, uint flags);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int Fallocate(SafeFileHandle file, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "sync_file_range", SetLastError = true)]
    private static partial int SyncFileRange(SafeFileHandle file, long offset, long length, uint flags);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial SafeFileHandle Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Fsync(SafeFileHandle file);

    /// <summary>struct statx of linux/stat.h, which has one layout on every architecture.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct StatxBuffer
    {
        [FieldOffset(40)]
        public ulong Size;

        [FieldOffset(48)]
        public ulong Blocks;
    }
}

/// <param name="Length">Its last byte and all before.</param>
/// <param name="Allocated">Of the disk; holes take nothing.</param>
public readonly record struct FileUsage(long Length, long Allocated);
