using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Ravel.Linux.Processes;

/// <summary>Open files of this process.</summary>
public static class OpenFiles
{
    /// <summary>A second descriptor of an open file (F_DUPFD_CLOEXEC, fcntl(2)), for the caller to dispose.</summary>
    /// <exception cref="IOException">There are too many.</exception>
    public static SafeFileHandle Duplicate(SafeHandle file)
    {
        var copy = ProcessCalls.fcntl(file, ProcessCalls.FDupfdCloexec, 0);
        if (!copy.IsInvalid)
            return copy;
        copy.Dispose();
        throw new IOException($"an open file could not be duplicated: {Marshal.GetLastPInvokeErrorMessage()}");
    }
}
