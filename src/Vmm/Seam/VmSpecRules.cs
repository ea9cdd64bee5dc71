using System.Globalization;
using System.Text;

namespace Ravel.Vmm;

/// <summary>What every driver demands of a <see cref="VmSpec"/>, checked before anything is made.</summary>
public static class VmSpecRules
{
    public const int MaxIdLength = 64;

    /// <summary>Longest path of a Unix socket in bytes (unix(7): 108 with the closing zero).</summary>
    public const int MaxSocketPath = 107;

    /// <summary>The longest name of a socket any driver makes in a run directory.</summary>
    private const int LongestSocketName = 20;

    /// <exception cref="VmmException">Names the first rule that is broken.</exception>
    public static void Check(VmSpec spec, string driver)
    {
        if (Violation(spec) is { } words)
            throw new VmmException($"{driver} VM '{spec.Id}' cannot be launched: {words}");
        if (spec.NetworkNamespace is not null && driver != Firecracker.FirecrackerDriver.DriverName)
            throw new VmmException($"{driver} VM '{spec.Id}' cannot be launched: only a jailed Firecracker joins a network namespace");
    }

    /// <summary>The first rule that is broken, or null.</summary>
    public static string? Violation(VmSpec spec)
    {
        if (!IsId(spec.Id))
            return "its id has to be 1 to 64 letters, digits and '-'";
        if (!Path.IsPathFullyQualified(spec.RunDirectory))
            return $"the run directory '{spec.RunDirectory}' has to be an absolute path";
        if (Encoding.UTF8.GetByteCount(spec.RunDirectory) + 1 + LongestSocketName > MaxSocketPath)
            return $"the run directory '{spec.RunDirectory}' is too long for Unix sockets below it";
        if (spec.Cpus is < 1 or > 32)
            return string.Create(CultureInfo.InvariantCulture, $"{spec.Cpus} virtual CPUs are not between 1 and 32");
        if (spec.MemoryMib < 64)
            return string.Create(CultureInfo.InvariantCulture, $"{spec.MemoryMib} MiB of memory are less than 64");
        if (spec.NetworkNamespace is { } path && !Path.IsPathFullyQualified(path))
            return $"the network namespace '{path}' has to be an absolute path";
        return DriveViolation(spec) ?? NetworkViolation(spec) ?? Violation(spec.Limits);
    }

    /// <exception cref="VmRestoreException">The snapshot is another driver's, or another version's.</exception>
    public static void CheckSnapshot(VmSnapshot snapshot, string driver, string version)
    {
        if (snapshot.Driver != driver)
            throw new VmRestoreException($"snapshot {snapshot.Directory} was made by {snapshot.Driver}; {driver} cannot read it");
        if (snapshot.DriverVersion != version)
        {
            throw new VmRestoreException(
                $"snapshot {snapshot.Directory} was made by {driver} {snapshot.DriverVersion}; {driver} {version} may not read it, so it is not tried");
        }
    }

    public static bool IsId(string id) =>
        id.Length is > 0 and <= MaxIdLength && id.All(c => char.IsAsciiLetterOrDigit(c) || c == '-');

    private static string? DriveViolation(VmSpec spec)
    {
        if (spec.Drives.FirstOrDefault(drive => !IsDeviceId(drive.Id)) is { } drive)
            return $"the drive id '{drive.Id}' has to be letters, digits and '_'";
        if (spec.Drives.DistinctBy(drive => drive.Id).Count() < spec.Drives.Count)
            return "two drives have one id";
        string[] paths = [spec.Boot.KernelPath, spec.Boot.InitramfsPath, .. spec.Drives.Select(d => d.Path)];
        return paths.FirstOrDefault(path => !Path.IsPathFullyQualified(path) || path.AsSpan().IndexOfAny('\0', '\n') >= 0) is { } bad
            ? $"'{bad}' has to be an absolute path"
            : null;
    }

    private static string? NetworkViolation(VmSpec spec)
    {
        if (spec.Networks.FirstOrDefault(network => !IsDeviceId(network.Id)) is { } network)
            return $"the network id '{network.Id}' has to be letters, digits and '_'";
        if (spec.Networks.DistinctBy(n => n.Id).Count() < spec.Networks.Count)
            return "two networks have one id";
        if (spec.Networks.FirstOrDefault(n => !IsMac(n.Mac)) is { } mac)
            return $"'{mac.Mac}' is not a MAC address as aa:bb:cc:dd:ee:ff";
        return spec.Networks.FirstOrDefault(n => !IsTap(n.Tap)) is { } tap ? $"'{tap.Tap}' is not the name of a network device" : null;
    }

    /// <summary>The first rule that limits break, or null.</summary>
    public static string? Violation(VmLimits limits)
    {
        if (limits.CpuWeight is < 1 or > VmLimits.MaxCpuWeight)
            return string.Create(CultureInfo.InvariantCulture, $"a CPU weight of {limits.CpuWeight} is not between 1 and {VmLimits.MaxCpuWeight}");
        if (limits.Cpus is { } cpus && !(cpus >= 0.01))
            return string.Create(CultureInfo.InvariantCulture, $"{cpus} CPUs are less than 0.01");
        if (limits.Disk is { BytesPerSecond: < 0 } or { OperationsPerSecond: < 0 })
            return "the limit of its drives is negative";
        return limits.Network is { BytesPerSecond: < 0 } or { OperationsPerSecond: < 0 } ? "the limit of its networks is negative" : null;
    }

    private static bool IsDeviceId(string id) =>
        id.Length is > 0 and <= MaxIdLength && id.All(c => char.IsAsciiLetterOrDigit(c) || c == '_');

    /// <summary>IFNAMSIZ is 16 with the closing zero (netdevice(7)).</summary>
    private static bool IsTap(string name) =>
        name.Length is > 0 and <= 15 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');

    private static bool IsMac(string mac)
    {
        if (mac.Length != 17)
            return false;
        for (var i = 0; i < mac.Length; i++)
        {
            if (i % 3 == 2 ? mac[i] != ':' : !char.IsAsciiHexDigit(mac[i]))
                return false;
        }
        return true;
    }
}
