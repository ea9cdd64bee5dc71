using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using Ravel.ControlPlane.Storage;
using Ravel.Images;

namespace Ravel.Daemon;

/// <summary>The command line of <c>raveld run</c>, over the environment, over the defaults.</summary>
internal sealed record RunOptions
{
    public const string DefaultListen = "127.0.0.1:7717";

    public required string DataDirectory { get; init; }

    /// <summary>Null: the last one, else the default, else any free port of the loopback address.</summary>
    public IPEndPoint? Listen { get; init; }

    public required string Vmm { get; init; }

    public string? KernelDirectory { get; init; }

    public string? InitPath { get; init; }

    /// <summary>Bytes that the images' root file systems may take together; 0 = without limit, null = half of the disk.</summary>
    public long? ImageLimit { get; init; }

    /// <summary>Bytes of the disk kept free for journal and database; null = 1 GiB, but no more than a twentieth of it.</summary>
    public long? DiskReserve { get; init; }

    /// <summary>Bytes promised per byte of disk there is, at least 1.</summary>
    public double DiskOvercommit { get; init; } = 1;

    /// <summary>Settings of registries; null: the default file, if it is there.</summary>
    public string? RegistriesFile { get; init; }

    /// <summary>Null: a SQLite file in the data directory.</summary>
    public DatabaseAddress? Database { get; init; }

    /// <summary>Machines begin as copies of a guest that waits already.</summary>
    public bool WarmStart { get; init; }

    /// <summary>Virtual CPUs that may be promised per CPU of the host; null = the agent's default.</summary>
    public double? CpuOvercommit { get; init; }

    public static bool TryParse(
        IReadOnlyList<string> args,
        Func<string, string?> environment,
        [NotNullWhen(true)] out RunOptions? options,
        [NotNullWhen(false)] out string? error)
    {
        options = null;
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        for (var i = 0; i < args.Count; i++)
        {
            var (name, value) = args[i].Split('=', 2) is [var left, var right] ? (left, right) : (args[i], null);
            if (name is not ("--data" or "--listen" or "--vmm" or "--kernel" or "--init" or "--image-limit" or "--disk-reserve" or "--disk-overcommit"
                or "--registries" or "--warm-start" or "--database" or "--cpu-overcommit"))
            {
                error = $"raveld run: '{args[i]}' is not an option; see raveld --help";
                return false;
            }
            value ??= i + 1 < args.Count ? args[++i] : null;
            if (string.IsNullOrEmpty(value))
            {
                error = $"raveld run: {name} needs a value";
                return false;
            }
            values[name] = value;
        }

        IPEndPoint? listen = null;
        if (values.TryGetValue("--listen", out var address) && !Addresses.TryParse(address, out listen))
        {
            error = $"raveld run: --listen {address} is not ADDRESS:PORT, such as {DefaultListen}";
            return false;
        }

        long? imageLimit = null;
        var limit = values.GetValueOrDefault("--image-limit") ?? environment("RAVEL_IMAGE_LIMIT");
        if (!string.IsNullOrEmpty(limit) && (imageLimit = ParseSize(limit)) is null)
        {
            error = $"raveld run: --image-limit {limit} is not a size; write bytes, or a number with M, G or T, such as 50G; 0 for no limit";
            return false;
        }

        long? diskReserve = null;
        var reserve = values.GetValueOrDefault("--disk-reserve") ?? environment("RAVEL_DISK_RESERVE");
        if (!string.IsNullOrEmpty(reserve) && (diskReserve = ParseSize(reserve)) is null)
        {
            error = $"raveld run: --disk-reserve {reserve} is not a size; write bytes, or a number with M, G or T, such as 2G";
            return false;
        }

        double? diskOvercommit = null;
        var disks = values.GetValueOrDefault("--disk-overcommit") ?? environment("RAVEL_DISK_OVERCOMMIT");
        if (!string.IsNullOrEmpty(disks) && (diskOvercommit = ParseFactor(disks)) is null)
        {
            error = $"raveld run: --disk-overcommit {disks} is not a number from 1 to 1000";
            return false;
        }

        var warmStart = values.GetValueOrDefault("--warm-start") ?? environment("RAVEL_WARM_START");
        if (warmStart is not (null or "" or "on" or "off"))
        {
            error = $"raveld run: --warm-start {warmStart} is neither on nor off";
            return false;
        }

        DatabaseAddress? database = null;
        if ((values.GetValueOrDefault("--database") ?? environment("RAVEL_DATABASE")) is { Length: > 0 } text
            && !DatabaseAddress.TryParse(text, out database, out var reason))
        {
            error = $"raveld run: --database: {reason}";
            return false;
        }

        double? cpuOvercommit = null;
        var overcommit = values.GetValueOrDefault("--cpu-overcommit") ?? environment("RAVEL_CPU_OVERCOMMIT");
        if (!string.IsNullOrEmpty(overcommit) && (cpuOvercommit = ParseFactor(overcommit)) is null)
        {
            error = $"raveld run: --cpu-overcommit {overcommit} is not a number from 1 to 1000";
            return false;
        }

        options = new RunOptions
        {
            CpuOvercommit = cpuOvercommit,
            Database = database,
            WarmStart = warmStart != "off",
            ImageLimit = imageLimit,
            DiskReserve = diskReserve,
            DiskOvercommit = diskOvercommit ?? 1,
            DataDirectory = Path.GetFullPath(values.GetValueOrDefault("--data") ?? environment("RAVEL_DATA") ?? "/var/lib/ravel"),
            Listen = listen,
            Vmm = values.GetValueOrDefault("--vmm") ?? environment("RAVEL_VMM") ?? "qemu",
            KernelDirectory = values.GetValueOrDefault("--kernel") ?? environment("RAVEL_KERNEL"),
            InitPath = values.GetValueOrDefault("--init"),
            RegistriesFile = values.GetValueOrDefault("--registries") ?? environment(RegistryFile.Variable),
        };
        error = null;
        return true;
    }

    private static double? ParseFactor(string text) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var factor) && factor is >= 1 and <= 1000 ? factor : null;

    private static long? ParseSize(string text)
    {
        var shift = char.ToUpperInvariant(text[^1]) switch { 'K' => 10, 'M' => 20, 'G' => 30, 'T' => 40, _ => 0 };
        return long.TryParse(shift == 0 ? text : text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            && number <= long.MaxValue >> shift
                ? number << shift
                : null;
    }
}
