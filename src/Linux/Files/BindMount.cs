using System.Runtime.InteropServices;
using System.Text;

namespace Ravel.Linux.Files;

/// <summary>One file under a second name, also across file systems (mount(2), MS_BIND).</summary>
public static partial class BindMount
{
    private const nuint ReadOnly = 1;
    private const nuint NoSuid = 2;
    private const nuint NoDevices = 4;
    private const nuint Remount = 32;
    private const nuint Bind = 4096;
    private const int Detach = 2;
    private const int InvalidArgument = 22;
    private const int NoSuchFile = 2;

    /// <summary>Shows <paramref name="source"/> at <paramref name="target"/>, an existing file, until it is unmounted.</summary>
    /// <exception cref="IOException">The kernel refused; nothing is left mounted.</exception>
    public static void Create(string source, string target, bool isReadOnly)
    {
        if (Mount(source, target, null, Bind, null) != 0)
            throw Failed($"bind mount of {source} on {target}");
        // A bind mount takes its flags only when it is mounted again.
        var flags = Bind | Remount | NoSuid | NoDevices | (isReadOnly ? ReadOnly : 0);
        if (Mount("none", target, null, flags, null) == 0)
            return;
        var error = Failed($"flags of the bind mount on {target}");
        _ = Unmount(target, Detach);
        throw error;
    }

    /// <summary>Unmounts everything below a directory, if it is there, the newest mount first. The files themselves are not touched.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static void RemoveBelow(string directory)
    {
        if (!Directory.Exists(directory))
            return;
        // The kernel names mounts by where they are, not by a symbolic link on the way there.
        foreach (var target in Below(CanonicalPath.Of(directory), File.ReadAllText("/proc/self/mountinfo")).Reverse())
        {
            if (Unmount(target, Detach) != 0 && Marshal.GetLastPInvokeError() is not (InvalidArgument or NoSuchFile))
                throw Failed($"unmounting {target}");
        }
    }

    /// <summary>Mount points below a directory in the order of /proc/PID/mountinfo (proc(5): field 5, octal escapes).</summary>
    public static IReadOnlyList<string> Below(string directory, string mountInfo)
    {
        var prefix = directory.TrimEnd('/') + "/";
        return
        [
            .. mountInfo.Split('\n')
                .Select(line => line.Split(' '))
                .Where(fields => fields.Length > 4)
                .Select(fields => Unescape(fields[4]))
                .Where(path => path.StartsWith(prefix, StringComparison.Ordinal)),
        ];
    }

    private static string Unescape(string field)
    {
        if (!field.Contains('\\'))
            return field;
        var bytes = new List<byte>(field.Length);
        var raw = Encoding.UTF8.GetBytes(field);
        for (var i = 0; i < raw.Length; i++)
        {
            if (raw[i] == '\\' && i + 3 < raw.Length)
            {
                bytes.Add((byte)(((raw[i + 1] - '0') << 6) | ((raw[i + 2] - '0') << 3) | (raw[i + 3] - '0')));
                i += 3;
            }
            else
            {
                bytes.Add(raw[i]);
            }
        }
        return Encoding.UTF8.GetString([.. bytes]);
    }

    private static IOException Failed(string what) => new($"{what}: {Marshal.GetLastPInvokeErrorMessage()}");

    [LibraryImport("libc", EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Mount(string source, string target, string? type, nuint flags, string? data);

    [LibraryImport("libc", EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Unmount(string target, int flags);
}
