using System.Runtime.InteropServices;

namespace Ravel.Linux.Guest;

/// <summary>Makes what an archive names, with owner, mode and time. Every failure is a <see cref="SystemCallException"/> that names the path.</summary>
public static unsafe class FileMaking
{
    private const int CurrentDirectory = -100;
    private const int NoFollow = 0x100;

    /// <returns>False when something is there.</returns>
    public static bool TryMakeDirectory(string path, uint mode)
    {
        if (GuestCalls.Mkdir(path, mode) == 0)
            return true;
        return Marshal.GetLastPInvokeError() == Errno.Exists ? false : throw SystemCallException.Last($"mkdir {path}");
    }

    public static void MakeSymbolicLink(string target, string path) => Check(GuestCalls.Symlink(target, path), $"symlink {path}");

    public static void MakeHardLink(string existing, string path) => Check(GuestCalls.Link(existing, path), $"link {path}");

    /// <param name="path">Where.</param>
    /// <param name="kind">A device or a FIFO.</param>
    /// <param name="mode">Permissions.</param>
    /// <param name="major">Of a device.</param>
    /// <param name="minor">Of a device.</param>
    public static void MakeNode(string path, FileKind kind, uint mode, int major, int minor) =>
        Check(GuestCalls.MakeNode(path, (uint)kind | mode, FileStatus.DeviceOf(major, minor)), $"mknod {path}");

    public static void Remove(string path) => Check(GuestCalls.Unlink(path), $"unlink {path}");

    /// <summary>Of the path itself, not of what a symbolic link leads to.</summary>
    public static void SetOwner(string path, uint userId, uint groupId) => Check(GuestCalls.ChangeLinkOwner(path, userId, groupId), $"chown {path}");

    public static void SetMode(string path, uint mode) => Check(GuestCalls.Chmod(path, mode), $"chmod {path}");

    /// <summary>Of the path itself, not of what a symbolic link leads to.</summary>
    public static void SetModified(string path, long unixNanoseconds)
    {
        const long Second = 1_000_000_000;
        var seconds = Math.DivRem(unixNanoseconds, Second, out var rest);
        var time = new TimeSpec { Seconds = rest < 0 ? seconds - 1 : seconds, Nanoseconds = rest < 0 ? rest + Second : rest };
        var times = stackalloc TimeSpec[2] { time, time };
        // SAFETY: utimensat reads two times.
        Check(GuestCalls.SetTimes(CurrentDirectory, path, times, NoFollow), $"set the time of {path}");
    }

    /// <summary>Where a symbolic link points.</summary>
    public static string ReadLink(string path)
    {
        const int LongestPath = 4096;
        var target = stackalloc byte[LongestPath];
        // SAFETY: readlink writes at most as many bytes as it is told.
        var length = GuestCalls.ReadLink(path, target, LongestPath);
        if (length < 0)
            throw SystemCallException.Last($"readlink {path}");
        return System.Text.Encoding.UTF8.GetString(target, (int)length);
    }

    private static void Check(int result, string attempt)
    {
        if (result != 0)
            throw SystemCallException.Last(attempt);
    }
}
