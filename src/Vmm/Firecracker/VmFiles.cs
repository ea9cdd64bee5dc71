namespace Ravel.Vmm.Firecracker;

/// <summary>
/// Names of a VM's files, relative to the directory Firecracker runs in: the run directory, or the root of its jail. All paths
/// given to its API are these, so that a snapshot, which holds them, can be restored in another directory with other
/// drives ("at the same relative paths", docs/snapshotting).
/// </summary>
internal static class VmFiles
{
    public const string ApiSocket = "api.sock";
    public const string VsockSocket = "v.sock";
    public const string Log = "log";
    public const string Metrics = "metrics";
    public const string Kernel = "kernel";
    public const string Initramfs = "initramfs";
    public const string SnapshotState = "snapshot.state";
    public const string SnapshotMemory = "snapshot.memory";

    /// <summary>In the run directory: the identity of the snapshot that changes of memory are counted from.</summary>
    public const string Baseline = "baseline";

    /// <summary>Where Firecracker takes what the guest dials.</summary>
    public static string LinkSocket { get; } = $"{VsockSocket}_{Contracts.Link.LinkProtocol.VsockPort}";

    public static string Drive(int index) => $"drive{index}";

    /// <summary>A file of the VM's on its way into a snapshot, or out of one.</summary>
    public static string Taken(string name) => name + ".taken";

    /// <summary>All there may be, for a purge.</summary>
    public static IEnumerable<string> All(string directory) =>
        Directory.Exists(directory)
            ?
            [
                ApiSocket, VsockSocket, LinkSocket, LinkSocket + ".new", Log, Metrics, Kernel, Initramfs, SnapshotState, SnapshotMemory,
                Taken(SnapshotState), Taken(SnapshotMemory), Baseline, Baseline + ".tmp",
                LaunchedVm.FileName, LaunchedVm.FileName + ".tmp", DeviceMeter.SumFile, DeviceMeter.SumFile + ".tmp",
                .. Directory.EnumerateFileSystemEntries(directory, "drive*").Select(path => Path.GetFileName(path)),
            ]
            : [];
}
