using System.Globalization;

namespace Ravel.Vmm.Firecracker;

/// <summary>What a VM is told before it starts; pure.</summary>
internal static class FirecrackerConfiguration
{
    /// <summary>From this version on it boots a bzImage; before, an ELF only.</summary>
    public static readonly Version FirstWithBzImage = new(1, 17);

    /// <summary>Memory Firecracker needs beside the guest's, for the control group's limit; its own is a few MiB.</summary>
    public const int OverheadMib = 128;

    /// <summary>Any number from 3 on; each VM has a vsock of its own.</summary>
    private const uint GuestCid = 3;

    public static MachineConfiguration Machine(VmSpec spec) => new(spec.Cpus, spec.MemoryMib);

    public static BootSourceBody Boot(VmSpec spec) => new(VmFiles.Kernel, VmFiles.Initramfs, KernelArguments(spec.Boot));

    /// <summary>
    /// reboot=k: a reset through the keyboard controller is how a guest ends Firecracker; the rest keeps the kernel from
    /// probing for what is not there (docs/getting-started, docs/prod-host-setup).
    /// </summary>
    public static string KernelArguments(BootSource boot)
    {
        const string Own = "console=ttyS0 quiet reboot=k panic=-1 pci=off i8042.noaux i8042.nomux i8042.dumbkbd";
        return boot.ExtraArguments.Length == 0 ? Own : $"{Own} {boot.ExtraArguments}";
    }

    /// <summary>
    /// None is the root device: that would put it first and its name on the kernel's command line, and the initramfs mounts what
    /// it is told. Devices appear to the guest in the order of these calls. Writeback: a guest's flush reaches the disk.
    /// </summary>
    public static IEnumerable<DriveBody> Drives(VmSpec spec) =>
        spec.Drives.Select((drive, i) => new DriveBody(
            drive.Id, VmFiles.Drive(i), IsRootDevice: false, drive.ReadOnly, drive.ReadOnly ? "Unsafe" : "Writeback", "Sync"));

    public static IEnumerable<NetworkInterfaceBody> Networks(VmSpec spec) =>
        spec.Networks.Select(network => new NetworkInterfaceBody(network.Id, network.Tap, network.Mac));

    public static VsockBody Vsock { get; } = new(GuestCid, VmFiles.VsockSocket);

    public static LoggerBody Logger { get; } = new(VmFiles.Log, "Info", ShowLevel: true);

    public static SnapshotLoadBody Load(VmSpec spec) => new(
        VmFiles.SnapshotState,
        new MemoryBackendBody("File", VmFiles.SnapshotMemory),
        ResumeVm: false,
        spec.Networks.Count == 0 ? null : [.. spec.Networks.Select(network => new NetworkOverrideBody(network.Id, network.Tap))]);

    /// <summary>"Firecracker v1.17.0-dev" → 1.17.0; null when it says no version.</summary>
    public static Version? ParseVersion(string text)
    {
        var at = text.IndexOf(" v", StringComparison.Ordinal);
        if (at < 0)
            return null;
        var digits = string.Concat(text[(at + 2)..].TakeWhile(c => char.IsAsciiDigit(c) || c == '.'));
        return Version.TryParse(digits, out var version) ? version : null;
    }

    /// <summary>How the guest ended, from what is known of the process. Exit status 0 alone proves little; it is the best there is.</summary>
    public static VmmExit Classify(bool isKilled, bool endedWell, string console, string words)
    {
        const string PanicWords = "Kernel panic - not syncing";
        if (isKilled)
            return new VmmExit(VmmExitKind.Killed, words);
        var panic = console.LastIndexOf(PanicWords, StringComparison.Ordinal);
        if (panic >= 0)
            return new VmmExit(VmmExitKind.GuestPanic, console[panic..].Split('\n')[0].Trim());
        return endedWell
            ? new VmmExit(VmmExitKind.GuestShutdown, string.Create(CultureInfo.InvariantCulture, $"the guest reset the machine: {words}"))
            : new VmmExit(VmmExitKind.Lost, $"Firecracker ended: {words}");
    }
}
