using System.Globalization;
using System.Text.RegularExpressions;
using Ravel.Linux.Guest;

namespace Ravel.Vmm.Qemu;

/// <summary>What of this host decides how QEMU is started.</summary>
/// <param name="Accelerator"><c>kvm</c> or <c>tcg</c>.</param>
/// <param name="TscKhz">Frequency of the host's time stamp counter, or null when unknown.</param>
/// <param name="HasVhostNet"><c>/dev/vhost-net</c> is there.</param>
internal sealed partial record QemuHost(string Accelerator, int? TscKhz, bool HasVhostNet)
{
    /// <summary>Groups a user has to be in to open /dev/kvm.</summary>
    public IReadOnlyList<int> Groups { get; init; } = [];

    /// <summary>Whether anybody but root can open /dev/kvm at all.</summary>
    public bool CanOthersOpenKvm { get; init; } = true;

    /// <param name="wantedAccelerator"><c>kvm</c>, <c>tcg</c>, or null to choose.</param>
    public static QemuHost Detect(string? wantedAccelerator)
    {
        var host = new QemuHost(
            ChooseAccelerator(wantedAccelerator, Directory.Exists, CanOpenKvm),
            ParseTscKhz(ReadText("/proc/cpuinfo")),
            File.Exists("/dev/vhost-net"));
        return host.Accelerator == "kvm" && FileStatus.Of("/dev/kvm", follow: true) is { } device ? host.WithKvm(device.Mode, (int)device.GroupId) : host;
    }

    /// <param name="mode">Of /dev/kvm.</param>
    /// <param name="group">Its group.</param>
    public QemuHost WithKvm(uint mode, int group)
    {
        const uint ForOthers = 0x6, ForGroup = 0x30;
        if ((mode & ForOthers) == ForOthers)
            return this;
        return (mode & ForGroup) == ForGroup && group != 0 ? this with { Groups = [group] } : this with { CanOthersOpenKvm = false };
    }

    /// <summary>
    /// KVM only with the processor's own module and a device that opens: under a paravirtual one (<c>kvm_pvm</c>) /dev/kvm is
    /// there and opens, but runs an ordinary guest kernel by instruction emulation, far slower than TCG, until it dies.
    /// </summary>
    public static string ChooseAccelerator(string? wanted, Func<string, bool> directoryExists, Func<bool> canOpenKvm) =>
        wanted ?? ((directoryExists("/sys/module/kvm_intel") || directoryExists("/sys/module/kvm_amd")) && canOpenKvm() ? "kvm" : "tcg");

    /// <summary>The first processor's <c>cpu MHz</c> line of /proc/cpuinfo, in kHz.</summary>
    public static int? ParseTscKhz(string cpuInfo) =>
        CpuMhz().Match(cpuInfo) is { Success: true } match
        && double.TryParse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture, out var mhz)
        && mhz is > 1 and < 1_000_000
            ? (int)Math.Round(mhz * 1000)
            : null;

    /// <summary>What the host's first processor is, and can: two hosts of which this differs do not go on with each other's guests.</summary>
    public static string ReadProcessor() =>
        string.Join('\n', ReadText("/proc/cpuinfo").Split("\n\n")[0].Split('\n').Where(line =>
            line.StartsWith("model name", StringComparison.Ordinal) || line.StartsWith("flags", StringComparison.Ordinal)));

    [GeneratedRegex(@"^cpu MHz\s*:\s*([0-9.]+)$", RegexOptions.Multiline)]
    private static partial Regex CpuMhz();

    private static bool CanOpenKvm()
    {
        try
        {
            using var device = File.OpenHandle("/dev/kvm", FileMode.Open, FileAccess.ReadWrite);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static string ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
