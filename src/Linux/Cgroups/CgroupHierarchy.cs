using System.Globalization;

namespace Ravel.Linux.Cgroups;

/// <summary>One mounted hierarchy and the controllers Ravel uses in it. Files: cgroup-v2.rst and cgroup-v1/ of the kernel's admin guide.</summary>
internal sealed record CgroupHierarchy(string MountPoint, bool IsUnified, IReadOnlyList<string> Controllers)
{
    /// <summary>Period of the CPU quota, in microseconds; the kernel's default.</summary>
    private const long PeriodMicroseconds = 100_000;

    /// <summary>The least quota the kernel takes.</summary>
    private const long MinQuotaMicroseconds = 1000;

    /// <summary>What a group has that says nothing: v2 counts from 100, v1 from 1024.</summary>
    private const long DefaultWeight = 100;

    private const long DefaultShares = 1024;

    /// <summary>The least the kernel takes.</summary>
    private const long MinShares = 2;

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
        Limit(path, limits);
    }

    /// <summary>Writes the limits of a group that is there.</summary>
    public void Limit(string path, CgroupLimits limits)
    {
        var directory = Path.Combine(MountPoint, path);
        if (Controllers.Contains("memory") && limits.MemoryBytes is { } memory)
        {
            Write(directory, IsUnified ? "memory.max" : "memory.limit_in_bytes", Text(memory));
            // Swapping would be a way round it; where the kernel counts no swap there is no such file.
            TryWrite(directory, IsUnified ? "memory.swap.max" : "memory.memsw.limit_in_bytes", IsUnified ? "0" : Text(memory));
        }
        if (Controllers.Contains("cpu"))
            LimitCpu(directory, limits);
        if (limits.Reads is { Count: > 0 } reads)
            LimitIo(directory, reads);
    }

    private void LimitCpu(string directory, CgroupLimits limits)
    {
        if (limits.CpuWeight is { } weight)
            Write(directory, IsUnified ? "cpu.weight" : "cpu.shares", Text(IsUnified ? weight : Math.Max(MinShares, weight * DefaultShares / DefaultWeight)));
        if (limits.Cpus is not { } cpus)
            return;
        var quota = Text(Math.Max(MinQuotaMicroseconds, (long)(cpus * PeriodMicroseconds)));
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

    /// <summary>0 lifts a limit in v1, "max" in v2. A line for each device, and a write call for each line.</summary>
    private void LimitIo(string directory, IReadOnlyList<DeviceReads> devices)
    {
        foreach (var device in devices)
        {
            if (IsUnified && Controllers.Contains("io"))
            {
                Write(directory, "io.max", $"{device.Device} rbps={OrMax(device.BytesPerSecond)} riops={OrMax(Operations(device))}");
            }
            else if (!IsUnified && Controllers.Contains("blkio"))
            {
                Write(directory, "blkio.throttle.read_bps_device", $"{device.Device} {Text(device.BytesPerSecond)}");
                Write(directory, "blkio.throttle.read_iops_device", $"{device.Device} {Text(Operations(device))}");
            }
        }

        static string OrMax(long value) => value == 0 ? "max" : Text(value);
        static long Operations(DeviceReads device) => Math.Min(device.OperationsPerSecond, uint.MaxValue);
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

    private static void TryWrite(string directory, string file, string value)
    {
        if (File.Exists(Path.Combine(directory, file)))
            Write(directory, file, value);
    }

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);
}
