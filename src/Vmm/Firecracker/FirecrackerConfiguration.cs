using System.Globalization;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>What a VM is told before it starts; pure.</summary>
internal static class FirecrackerConfiguration
{
    /// <summary>From this version on it boots a bzImage; before, an ELF only.</summary>
    public static readonly Version FirstWithBzImage = new(1, 17);

    /// <summary>What Firecracker takes beside its guest. Its own memory is a few MiB; its threads are few and mostly wait.</summary>
    public static VmmOverhead Overhead { get; } = new(MemoryMib: 128, Cpus: 0.5);

    /// <summary>Any number from 3 on; each VM has a vsock of its own.</summary>
    private const uint GuestCid = 3;

    /// <summary>How often a guest's balloon reports, for usage figures.</summary>
    private const int BalloonSeconds = 5;

    public static MachineConfiguration Machine(VmSpec spec) => new(spec.Cpus, spec.MemoryMib, TrackDirtyPages: spec.TracksMemory);

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
            drive.Id, VmFiles.Drive(i), IsRootDevice: false, drive.ReadOnly, drive.ReadOnly ? "Unsafe" : "Writeback", "Sync", Limiter(spec.Limits.Disk)));

    public static IEnumerable<NetworkInterfaceBody> Networks(VmSpec spec) =>
        spec.Networks.Select(network => new NetworkInterfaceBody(
            network.Id, network.Tap, network.Mac, Limiter(spec.Limits.Network), Limiter(spec.Limits.Network)));

    /// <summary>A second's worth in the bucket, refilled in a second; null when nothing is limited.</summary>
    public static RateLimiterBody? Limiter(RateLimit? limit) =>
        limit is null or { BytesPerSecond: 0, OperationsPerSecond: 0 }
            ? null
            : new RateLimiterBody(Bucket(limit.BytesPerSecond), Bucket(limit.OperationsPerSecond));

    /// <summary>For a VM that has limits already, perhaps (they are part of a snapshot): it is told where there are none now.</summary>
    public static RateLimiterBody LimiterFromNowOn(RateLimit? limit)
    {
        var none = new TokenBucketBody(0, 0);
        return new RateLimiterBody(Bucket(limit?.BytesPerSecond ?? 0) ?? none, Bucket(limit?.OperationsPerSecond ?? 0) ?? none);
    }

    private static TokenBucketBody? Bucket(long perSecond) => perSecond == 0 ? null : new TokenBucketBody(perSecond, 1000);

    public static VsockBody Vsock { get; } = new(GuestCid, VmFiles.VsockSocket);

    /// <summary>Empty; the guest takes memory back from it rather than kill a process.</summary>
    public static BalloonBody Balloon { get; } = new(0, DeflateOnOom: true, BalloonSeconds);

    public static MetricsBody Metrics { get; } = new(VmFiles.Metrics);

    public static LoggerBody Logger { get; } = new(VmFiles.Log, "Info", ShowLevel: true);

    public static SnapshotLoadBody Load(VmSpec spec) => new(
        VmFiles.SnapshotState,
        new MemoryBackendBody("File", VmFiles.SnapshotMemory),
        ResumeVm: false,
        spec.Networks.Count == 0 ? null : [.. spec.Networks.Select(network => new NetworkOverrideBody(network.Id, network.Tap))],
        spec.TracksMemory);

    /// <summary>
    /// How long a file may become by what Firecracker writes: its drives do not grow under it, and a snapshot's memory has the length of the guest's.
    /// </summary>
    public static long LongestFile(VmSpec spec) => spec.Drives
        .Where(drive => !drive.ReadOnly)
        .Select(drive => new FileInfo(drive.Path).Length)
        .Append(Math.Max((long)spec.MemoryMib << 20, FirecrackerVm.MaxStateBytes))
        .Max();

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
