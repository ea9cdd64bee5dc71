using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Files;

/// <summary>
/// An exclusive flock(2) on a file: held by this process until disposed or dead, never inherited by programs it starts
/// (O_CLOEXEC). .NET's own sharing modes are no substitute: an environment variable switches them off, and every way it has
/// of opening a file takes a shared lock of its own.
/// </summary>
public sealed partial class FileLock : IDisposable
{
    private const int ReadWriteCreateCloseOnExec = 0x2 | 0x40 | 0x80000;
    private const int ReadOnlyCloseOnExec = 0x80000;
    private const int LockExclusiveNonBlocking = 2 | 4;
    private const int Unlock = 8;
    private const int EIntr = 4;
    private const int EWouldBlock = 11;

    private readonly SafeFileHandle _handle;

    private FileLock(SafeFileHandle handle) => _handle = handle;

    /// <summary>Takes the lock on <paramref name="path"/> (made when missing), or returns null when another holds it.</summary>
    /// <exception cref="IOException">The file cannot be opened or locked.</exception>
    public static FileLock? TryAcquire(string path) => Acquire(path, OpenOrThrow(path, ReadWriteCreateCloseOnExec));

    /// <summary>The same for a file that is there; null too when it is not.</summary>
    /// <exception cref="IOException">The file cannot be opened or locked.</exception>
    public static FileLock? TryAcquireExisting(string path)
    {
        try
        {
            return Acquire(path, OpenOrThrow(path, ReadOnlyCloseOnExec));
        }
        catch (IOException) when (!File.Exists(path))
        {
            return null;
        }
    }

    /// <summary>Takes the lock on an open file, until that is closed; false when another holds it.</summary>
    /// <exception cref="IOException">It cannot be locked.</exception>
    public static bool TryHold(SafeFileHandle file)
    {
        while (Flock(file, LockExclusiveNonBlocking) != 0)
        {
            var errno = Marshal.GetLastPInvokeError();
            if (errno == EWouldBlock)
                return false;
            if (errno != EIntr)
                throw new IOException($"a file could not be locked: {new Win32Exception(errno).Message}");
        }
        return true;
    }

    /// <summary>Whether the locked file was removed meanwhile: then others lock another file of that name.</summary>
    public bool IsRemoved =>
        new FileInfo($"/proc/self/fd/{_handle.DangerousGetHandle()}").LinkTarget?.EndsWith(" (deleted)", StringComparison.Ordinal) ?? true;

    /// <summary>What <see cref="Write"/> of the holder left, at most 256 bytes, without touching the lock.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static byte[] Read(string path)
    {
        using var handle = OpenOrThrow(path, ReadOnlyCloseOnExec);
        var content = new byte[256];
        return content[..RandomAccess.Read(handle, content, 0)];
    }

    /// <summary>Replaces the file's content, for people who ask who holds the lock.</summary>
    public void Write(ReadOnlySpan<byte> content)
    {
        RandomAccess.SetLength(_handle, 0);
        RandomAccess.Write(_handle, content, 0);
    }

    public void Dispose()
    {
        // Closing alone would leave it with a child that was forked meanwhile, until that has executed its program.
        _ = _handle.IsClosed ? 0 : Flock(_handle, Unlock);
        _handle.Dispose();
    }

    private static FileLock? Acquire(string path, SafeFileHandle handle)
    {
        try
        {
            if (TryHold(handle))
                return new FileLock(handle);
        }
        catch (IOException e)
        {
            handle.Dispose();
            throw new IOException($"{path}: {e.Message}", e);
        }
        handle.Dispose();
        return null;
    }

    private static SafeFileHandle OpenOrThrow(string path, int flags)
    {
        var file = Open(path, flags, 0x180 /* 0600 */);
        if (file >= 0)
            return new SafeFileHandle(file, ownsHandle: true);
        throw new IOException($"{path} could not be opened: {new Win32Exception(Marshal.GetLastPInvokeError()).Message}");
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int Flock(SafeFileHandle file, int operation);
}
