using System.Globalization;
using System.Runtime.InteropServices;

namespace Ravel.Linux.Processes;

/// <summary>
/// The parts of a file that this process maps and never wrote to (proc_pid_smaps(5)), as .NET's single-file host maps the assemblies in
/// its bundle: shared, to read them, and privately, where they run.
/// </summary>
public static partial class FileMappings
{
    private const string OwnPages = "Anonymous:";

    /// <summary>MADV_DONTNEED of madvise(2).</summary>
    private const int DontNeed = 4;

    /// <summary>
    /// Takes the pages of <paramref name="file"/> out of this process. They stay in the page cache, from where the kernel drops
    /// them when it needs memory, and come back when they are touched. Nothing can be lost: what cannot be written to and has no page of
    /// its own is never anything but the file. The file's mappings have to be ones that stay.
    /// </summary>
    public static void Release(string file)
    {
        Mapping? mapping = null;
        foreach (var line in File.ReadLines("/proc/self/smaps"))
        {
            if (TryParse(line, out var next))
            {
                mapping = next.File == file && next.Protection is ("r--s" or "r--p" or "r-xp") ? next : null;
            }
            else if (mapping is { } released && line.StartsWith(OwnPages, StringComparison.Ordinal))
            {
                // Pages that were written to before, as where addresses were filled in, are the process's own.
                if (line.AsSpan(OwnPages.Length).Trim() is "0 kB")
                    _ = madvise(released.Start, released.Length, DontNeed);
                mapping = null;
            }
        }
    }

    /// <summary>As in <c>7f8791c63000-7f8792b3f000 r--s 02263000 fe:00 5341521    /usr/bin/raveld</c>.</summary>
    private static bool TryParse(string line, out Mapping mapping)
    {
        mapping = default;
        var fields = line.Split(' ', 6, StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length < 5)
            return false;
        var dash = fields[0].IndexOf('-', StringComparison.Ordinal);
        if (dash < 0
            || !nuint.TryParse(fields[0].AsSpan(0, dash), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var start)
            || !nuint.TryParse(fields[0].AsSpan(dash + 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var end)
            || end <= start)
        {
            return false;
        }
        mapping = new Mapping(start, end - start, fields[1], fields.Length < 6 ? "" : fields[5].TrimStart());
        return true;
    }

    private readonly record struct Mapping(nuint Start, nuint Length, string Protection, string File);

    [LibraryImport("libc")]
    private static partial int madvise(nuint address, nuint length, int advice);
}
