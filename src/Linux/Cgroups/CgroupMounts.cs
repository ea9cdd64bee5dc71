using System.Text;

namespace Ravel.Linux.Cgroups;

/// <summary>
/// Where a host has its control groups (cgroups(7)): one v2 tree with controllers (a production host), v1 trees per
/// controller, or both with a v2 tree that has none and only tracks processes (hybrid).
/// </summary>
/// <param name="Unified">Mount point of the v2 tree, or null.</param>
/// <param name="Legacy">Mount point of each v1 controller, e.g. <c>memory</c>.</param>
public sealed record CgroupMounts(string? Unified, IReadOnlyDictionary<string, string> Legacy)
{
    /// <summary>Reads what this process sees mounted.</summary>
    public static CgroupMounts Detect() => Parse(File.ReadAllText("/proc/self/mountinfo"));

    /// <summary>Reads the format of /proc/PID/mountinfo (proc(5)); the first mount of a tree counts.</summary>
    public static CgroupMounts Parse(string mountInfo)
    {
        string? unified = null;
        var legacy = new Dictionary<string, string>();
        foreach (var line in mountInfo.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var separator = line.IndexOf(" - ", StringComparison.Ordinal);
            if (separator < 0)
                continue;
            var left = line[..separator].Split(' ');
            var right = line[(separator + 3)..].Split(' ');
            // A bind mount of a part of a tree (root other than "/") is somebody's sandbox, not the tree.
            if (left.Length < 5 || right.Length < 3 || left[3] != "/")
                continue;
            var path = Unescape(left[4]);
            if (right[0] == "cgroup2")
            {
                unified ??= path;
            }
            else if (right[0] == "cgroup")
            {
                foreach (var option in right[2].Split(','))
                {
                    if (option is "memory" or "cpu" or "cpuacct" or "blkio")
                        legacy.TryAdd(option, path);
                }
            }
        }
        return new CgroupMounts(unified, legacy);
    }

    /// <summary>Spaces, tabs, newlines and backslashes stand as \ooo.</summary>
    private static string Unescape(string text)
    {
        if (!text.Contains('\\'))
            return text;
        var result = new StringBuilder();
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\' && i + 3 < text.Length)
            {
                result.Append((char)Convert.ToInt32(text.Substring(i + 1, 3), 8));
                i += 3;
            }
            else
            {
                result.Append(text[i]);
            }
        }
        return result.ToString();
    }
}
