using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using Ravel.ControlPlane.Storage;

namespace Ravel.Daemon;

/// <summary>The settings of <c>raveld run</c>.</summary>
internal sealed record RunOptions
{
    public const string DefaultListen = "127.0.0.1:7717";

    public const string DefaultData = "/var/lib/ravel";

    /// <summary>Of the host, and so of an agent.</summary>
    public static readonly string[] HostNames =
        ["--data", "--vmm", "--kernel", "--init", "--image-limit", "--disk-reserve", "--disk-overcommit", "--registries", "--warm-start", "--cpu-overcommit"];

    public static readonly string[] Names = [.. HostNames, "--listen", "--database"];

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
        SettingSources sources,
        [NotNullWhen(true)] out RunOptions? options,
        [NotNullWhen(false)] out string? error)
    {
        options = null;
        if (!CommandLine.TryRead("run", args, Names, sources, out var line, out error) || !TryRead(line, out var host, out error))
            return false;
        IPEndPoint? listen = null;
        if (line.Value("--listen") is { } address && !Addresses.TryParse(address, out listen))
        {
            error = $"raveld run: --listen {address} is not ADDRESS:PORT, such as {DefaultListen}";
            return false;
        }
        DatabaseAddress? database = null;
        if (line.Value("--database") is { } text && !DatabaseAddress.TryParse(text, out database, out var reason))
        {
            error = $"raveld run: --database: {reason}";
            return false;
        }
        options = host with { Listen = listen, Database = database };
        error = null;
        return true;
    }

    /// <summary>What is the host's, as an agent has it too.</summary>
    public static bool TryRead(CommandLine line, [NotNullWhen(true)] out RunOptions? options, [NotNullWhen(false)] out string? error)
    {
        options = null;
        long? imageLimit = null;
        if (line.Value("--image-limit") is { } limit && (imageLimit = ParseSize(limit)) is null)
        {
            error = $"raveld {line.Command}: --image-limit {limit} is not a size; write bytes, or a number with M, G or T, such as 50G; 0 for no limit";
            return false;
        }

        long? diskReserve = null;
        if (line.Value("--disk-reserve") is { } reserve && (diskReserve = ParseSize(reserve)) is null)
        {
            error = $"raveld {line.Command}: --disk-reserve {reserve} is not a size; write bytes, or a number with M, G or T, such as 2G";
            return false;
        }

        double? diskOvercommit = null;
        if (line.Value("--disk-overcommit") is { } disks && (diskOvercommit = ParseFactor(disks)) is null)
        {
            error = $"raveld {line.Command}: --disk-overcommit {disks} is not a number from 1 to 1000";
            return false;
        }

        var warmStart = line.Value("--warm-start");
        if (warmStart is not (null or "on" or "off"))
        {
            error = $"raveld {line.Command}: --warm-start {warmStart} is neither on nor off";
            return false;
        }

        double? cpuOvercommit = null;
        if (line.Value("--cpu-overcommit") is { } overcommit && (cpuOvercommit = ParseFactor(overcommit)) is null)
        {
            error = $"raveld {line.Command}: --cpu-overcommit {overcommit} is not a number from 1 to 1000";
            return false;
        }

        options = new RunOptions
        {
            CpuOvercommit = cpuOvercommit,
            WarmStart = warmStart != "off",
            ImageLimit = imageLimit,
            DiskReserve = diskReserve,
            DiskOvercommit = diskOvercommit ?? 1,
            DataDirectory = Path.GetFullPath(line.Value("--data") ?? DefaultData),
            Vmm = line.Value("--vmm") ?? "qemu",
            KernelDirectory = line.Value("--kernel"),
            InitPath = line.Value("--init"),
            RegistriesFile = line.Value("--registries"),
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
