using System.Runtime.InteropServices;

namespace Ravel.Linux.Processes;

/// <summary>What a jail's files need and .NET has not: hard links (link(2)) and owners (lchown(2)).</summary>
public static class FileLinks
{
    private const int CrossDevice = 18;

    /// <summary>False when the two names are on different file systems.</summary>
    /// <exception cref="IOException">Any other reason; the message names both.</exception>
    public static bool TryHardLink(string existing, string name)
    {
        if (ProcessCalls.link(existing, name) == 0)
            return true;
        var error = Marshal.GetLastPInvokeError();
        return error == CrossDevice
            ? false
            : throw new IOException($"hard link {name} of {existing}: {Marshal.GetPInvokeErrorMessage(error)}");
    }

    /// <exception cref="IOException">It could not be made; the message names both.</exception>
    public static void HardLink(string existing, string name)
    {
        if (!TryHardLink(existing, name))
            throw new IOException($"hard link {name} of {existing}: they are on different file systems");
    }

    /// <exception cref="IOException">Not permitted, or no such file.</exception>
    public static void ChangeOwner(string path, int user, int group)
    {
        if (ProcessCalls.lchown(path, user, group) != 0)
            throw new IOException($"owner of {path}: {Marshal.GetLastPInvokeErrorMessage()}");
    }
}
