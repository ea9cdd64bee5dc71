using System.Runtime.InteropServices;

namespace Ravel.Linux.Guest;

[Flags]
public enum MountFlags : uint
{
    None = 0,
    ReadOnly = 1,
    NoSuid = 2,
    NoDev = 4,
    NoExec = 8,
    Remount = 32,
    NoAccessTime = 1024,
    Move = 8192,
}

/// <summary>Mounts and the few file operations PID 1 does before and around them.</summary>
public static class FileSystems
{
    /// <exception cref="SystemCallException">Names the target.</exception>
    public static void Mount(string source, string target, string type, MountFlags flags = MountFlags.None, string? data = null)
    {
        if (GuestCalls.Mount(source, target, type, (nuint)flags, data) != 0)
            throw SystemCallException.Last($"mount {type} {source} on {target}");
    }

    /// <returns>0 or the error.</returns>
    public static int TryMount(string source, string target, string type, MountFlags flags = MountFlags.None, string? data = null) =>
        GuestCalls.Mount(source, target, type, (nuint)flags, data) == 0 ? 0 : Marshal.GetLastPInvokeError();

    public static void Move(string from, string to)
    {
        if (GuestCalls.Mount(from, to, null, (nuint)MountFlags.Move, null) != 0)
            throw SystemCallException.Last($"move mount {from} to {to}");
    }

    /// <returns>0 or the error.</returns>
    public static int TryRemountReadOnly(string target) =>
        GuestCalls.Mount("none", target, null, (nuint)(MountFlags.Remount | MountFlags.ReadOnly), null) == 0 ? 0 : Marshal.GetLastPInvokeError();

    /// <returns>0, or the error.</returns>
    public static int TryUnmount(string target) => GuestCalls.Unmount(target, 0) == 0 ? 0 : Marshal.GetLastPInvokeError();

    /// <summary>Removes a directory if it is there and empty.</summary>
    public static void TryRemoveDirectory(string path) => _ = GuestCalls.RemoveDirectory(path);

    /// <summary>Makes <paramref name="path"/>, a mount, the root of the process and of the mount tree (as switch_root(8)).</summary>
    public static void SwitchRoot(string path)
    {
        if (GuestCalls.Chdir(path) != 0)
            throw SystemCallException.Last($"chdir {path}");
        Move(".", "/");
        if (GuestCalls.Chroot(".") != 0 || GuestCalls.Chdir("/") != 0)
            throw SystemCallException.Last($"chroot {path}");
    }

    /// <summary>Goes back to a root that was left, through a descriptor of its directory.</summary>
    public static bool TryReturnToRoot(int directory) =>
        GuestCalls.Fchdir(directory) == 0 && GuestCalls.Chroot(".") == 0;

    /// <summary>Makes a directory with all above it; one that is there keeps its mode.</summary>
    public static void MakeDirectories(string path, uint mode = 0x1ed)
    {
        for (var end = path.IndexOf('/', 1); ; end = path.IndexOf('/', end + 1))
        {
            var part = end < 0 ? path : path[..end];
            if (GuestCalls.Mkdir(part, mode) != 0 && Marshal.GetLastPInvokeError() is not (Errno.Exists or Errno.IsADirectory))
            {
                var error = Marshal.GetLastPInvokeError();
                if (GuestCalls.Access(part, 0) != 0)
                    throw new SystemCallException($"mkdir {part}", error);
            }
            if (end < 0)
                return;
        }
    }

    /// <summary>Makes a directory with exactly this mode if nothing is there.</summary>
    public static void MakeDirectoryIfMissing(string path, uint mode)
    {
        if (GuestCalls.Mkdir(path, mode) == 0)
            _ = GuestCalls.Chmod(path, mode);
    }

    public static void Symlink(string target, string path) => _ = GuestCalls.Symlink(target, path);

    public static void Unlink(string path) => _ = GuestCalls.Unlink(path);

    public static bool Exists(string path) => GuestCalls.Access(path, 0) == 0;

    public static bool IsExecutable(string path) => GuestCalls.Access(path, 1) == 0;

    public static void SetUmask(uint mask) => _ = GuestCalls.Umask(mask);

    /// <summary>Writes a whole file; a symbolic link in its place is replaced, not followed.</summary>
    public static void WriteFile(string path, ReadOnlySpan<byte> content, uint mode = 0x1a4)
    {
        const int Flags = Descriptors.WriteOnly | Descriptors.Create | Descriptors.Truncate | Descriptors.NoFollow;
        var fd = Descriptors.TryOpen(path, Flags, mode);
        if (fd == -Errno.Loop)
        {
            Unlink(path);
            fd = Descriptors.TryOpen(path, Flags, mode);
        }
        if (fd < 0)
            throw new SystemCallException($"write {path}", -fd);
        try
        {
            while (content.Length > 0)
            {
                var written = Descriptors.Write(fd, content);
                if (written < 0)
                    throw new SystemCallException($"write {path}", -written);
                content = content[written..];
            }
        }
        finally
        {
            Descriptors.Close(fd);
        }
    }

    /// <summary>Writes to a file of the kernel's; false when it is not there or refuses.</summary>
    public static bool TryWriteExisting(string path, ReadOnlySpan<byte> content)
    {
        var fd = Descriptors.TryOpen(path, Descriptors.WriteOnly);
        if (fd < 0)
            return false;
        var written = Descriptors.Write(fd, content);
        Descriptors.Close(fd);
        return written == content.Length;
    }

    /// <summary>Reads a file of at most <paramref name="limit"/> bytes; null when it cannot be read or is longer.</summary>
    public static byte[]? ReadFile(string path, int limit)
    {
        // Not blocking: what an image calls a file may be a pipe.
        var fd = Descriptors.TryOpen(path, Descriptors.ReadOnly | Descriptors.NonBlocking);
        if (fd < 0)
            return null;
        try
        {
            var content = new byte[4096];
            var length = 0;
            while (true)
            {
                if (length == content.Length)
                {
                    if (length > limit)
                        return null;
                    Array.Resize(ref content, length * 2);
                }
                var read = Descriptors.Read(fd, content.AsSpan(length));
                if (read < 0)
                    return null;
                if (read == 0)
                    return length > limit ? null : content[..length];
                length += read;
            }
        }
        finally
        {
            Descriptors.Close(fd);
        }
    }
}
