using System.Globalization;
using System.Text;
using Ravel.Linux.Guest;

namespace Ravel.GuestInit.Setup;

/// <summary>
/// Disks and network of a guest that is saved before it is a machine: their drivers are there, but look at no device before the guest is
/// told what it is. So it sees the disks it is restored with, not those it was saved with.
/// </summary>
internal static class HeldDevices
{
    private const string CommandLine = "/proc/cmdline";
    private const string Bus = "/sys/bus/virtio";
    private const string Prefix = "virtio";

    /// <summary>On the kernel's command line of a guest that is to be saved.</summary>
    private const string Word = "ravel.hold=1";

    /// <summary>Virtio specification 1.2, section 5: network, block.</summary>
    private static readonly string[] Types = ["0x0001", "0x0002"];

    public static bool IsAsked() =>
        FileSystems.ReadFile(CommandLine, 64 * 1024) is { } line
        && Encoding.UTF8.GetString(line).Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries).Contains(Word);

    /// <summary>Drivers that are loaded from now on take no device; those that are built in give theirs back.</summary>
    public static void Hold()
    {
        FileSystems.WriteFile($"{Bus}/drivers_autoprobe", "0"u8);
        foreach (var device in Devices())
        {
            if (FileSystems.Exists($"{Bus}/devices/{device}/driver"))
                FileSystems.WriteFile($"{Bus}/devices/{device}/driver/unbind", Encoding.ASCII.GetBytes(device));
        }
    }

    /// <summary>Lets the drivers look, in the devices' order: it gives them their names.</summary>
    public static void Release()
    {
        FileSystems.WriteFile($"{Bus}/drivers_autoprobe", "1"u8);
        foreach (var device in Devices())
            FileSystems.WriteFile($"{Bus}/drivers_probe", Encoding.ASCII.GetBytes(device));
    }

    private static IEnumerable<string> Devices() =>
        from path in Directory.GetFileSystemEntries($"{Bus}/devices")
        let name = Path.GetFileName(path)
        where name.StartsWith(Prefix, StringComparison.Ordinal)
            && FileSystems.ReadFile($"{path}/device", 64) is { } type && Types.Contains(Encoding.ASCII.GetString(type).Trim())
        orderby int.Parse(name.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture)
        select name;
}
