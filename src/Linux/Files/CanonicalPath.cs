using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;

namespace Ravel.Linux.Files;

/// <summary>realpath(3): one name per file, whatever symbolic links it was reached by.</summary>
public static unsafe partial class CanonicalPath
{
    private const int PathMax = 4096;

    /// <exception cref="IOException">The path does not exist or cannot be followed.</exception>
    public static string Of(string path)
    {
        var buffer = stackalloc byte[PathMax];
        if (RealPath(path, buffer) is null)
            throw new IOException($"{path} cannot be resolved: {new Win32Exception(Marshal.GetLastPInvokeError()).Message}");
        return Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(buffer));
    }

    [LibraryImport("libc", EntryPoint = "realpath", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial byte* RealPath(string path, byte* resolved);
}
