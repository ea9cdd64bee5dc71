using System.Globalization;
using System.Runtime.InteropServices;

namespace Ravel.Linux.Processes;

/// <summary>
/// The parts of files that this process maps shared and for reading only (proc_pid_maps(5)), as .NET's single-file host maps
/// the assemblies in its bundle to load them from there.
/// </summary>
public static partial class SharedMappings
{
    /// <summary>MADV_DONTNEED of madvise(2).</summary>
    private const int DontNeed = 4;

    /// <summary>
    /// Takes the pages of <paramref name="file"/> out of this process. They stay in the page cache, from where the kernel drops
    /// them when it needs memory, and come back when they are touched. Nothing can be lost: what is mapped shared and
    /// read-only is never anything but the file.
    /// </summary>
    public static void Release(string file)
    {
        foreach (var line in File.ReadLines("/proc/self/maps"))
        {
            if (!TryParse(line, file, out var start, out var length))
                continue;
            _ = madvise(start, length, DontNeed);
        }
    }

    /// <summary>As in <c>7f8791c63000-7f8792b3f000 r--s 02263000 fe:00 5341521    /usr/bin/raveld</c>.</summary>
    private static bool TryParse(string line, string file, out nuint start, out nuint length)
    {
        (start, length) = (0, 0);
        var fields = line.Split(' ', 6, StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length < 6 || fields[1] != "r--s" || fields[5].TrimStart() != file)
            return false;
        var dash = fields[0].IndexOf('-', StringComparison.Ordinal);
        if (dash < 0
            || !nuint.TryParse(fields[0].AsSpan(0, dash), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out start)
            || !nuint.TryParse(fields[0].AsSpan(dash + 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var end)
            || end <= start)
        {
            return false;
        }
        length = end - start;
        return true;
    }

    [LibraryImport("libc")]
    private static partial int madvise(nuint address, nuint length, int advice);
}
