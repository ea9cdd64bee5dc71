using System.Globalization;

namespace Ravel.Linux.Cgroups;

/// <summary>One mounted hierarchy and the controllers Ravel uses in it. Files: cgroup-v2.rst and cgroup-v1/ of the kernel's admin guide.</summary>
internal sealed record CgroupHierarchy(string MountPoint, bool IsUnified, IReadOnlyList<string> Controllers)
{
    /// <summary>Period of the CPU quota, in microseconds; the kernel's default.</summary>
    private const long PeriodMicroseconds = 100_000;

    public void Create(string path, CgroupLimits limits)
    {
        var directory = MountPoint;
        foreach (var part in path.Split('/'))
        {
            // A v2 controller works in a group only when every group above passes it on.
            if (IsUnified)
                Enable(directory);
            directory = Path.Combine(directory, part);
            Directory.CreateDirectory(directory);
        }
        if (Controllers.Contains("memory") && limits.MemoryBytes is { } memory)
            Write(directory, IsUnified ? "memory.max" : "memory.limit_in_bytes", Text(memory));
        if (Controllers.Contains("cpu") && limits.Cpus is { } cpus)
        {
            var quota = Text((long)(cpus * PeriodMicroseconds));
            if (IsUnified)
            {
                Write(directory, "cpu.max", $"{quota} {PeriodMicroseconds}");
            }
            else
            {
                Write(directory, "cpu.cfs_period_us", Text(PeriodMicroseconds));
                Write(directory, "cpu.cfs_quota_us", quota);
            }
        }
    }

    public static string[] ReadWords(string file)
    {
        try
        {
            return File.ReadAllText(file).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private void Enable(string directory)
    {
        if (Controllers.Count == 0)
            return;
        var file = Path.Combine(directory, "cgroup.subtree_control");
        var missing = Controllers.Except(ReadWords(file)).ToList();
        if (missing.Count > 0)
            Write(directory, "cgroup.subtree_control", string.Join(' ', missing.Select(name => '+' + name)));
    }

    private static void Write(string directory, string file, string value)
    {
        var path = Path.Combine(directory, file);
        try
        {
            // One write call each: these files take a value per call. Not created: a missing file is a missing controller.
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
            stream.Write(System.Text.Encoding.ASCII.GetBytes(value));
        }
        catch (IOException e) when (e is not (FileNotFoundException or DirectoryNotFoundException))
        {
            throw new IOException($"{path}: '{value}' was refused: {e.Message}", e);
        }
    }

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);
}
