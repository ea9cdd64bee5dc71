using System.Globalization;
using System.Text.Json;

namespace Ravel.Vmm.Firecracker;

/// <summary>
/// What a VM was launched with, kept in its run directory from before it runs: whoever adopts a process compares it with what that says of
/// itself (<c>GET /vm/config</c>), and knows what it can do.
/// </summary>
internal sealed record LaunchedVm(
    int Cpus,
    int MemoryMib,
    IReadOnlyList<LaunchedDrive> Drives,
    IReadOnlyList<LaunchedNetwork> Networks,
    bool HasBalloon,
    bool TracksMemory)
{
    public const string FileName = "vm.json";

    /// <summary>The guest sees the address a snapshot was saved with, so a restored VM's is not compared.</summary>
    public static LaunchedVm Of(VmSpec spec) => new(
        spec.Cpus,
        spec.MemoryMib,
        [.. spec.Drives.Select((drive, i) => new LaunchedDrive(drive.Id, VmFiles.Drive(i), drive.ReadOnly))],
        [.. spec.Networks.Select(network => new LaunchedNetwork(network.Id, network.Tap, spec.Restore is null ? network.Mac : null))],
        spec.HasBalloon,
        spec.TracksMemory);

    public void Write(string runDirectory)
    {
        var path = Path.Combine(runDirectory, FileName);
        File.WriteAllBytes(path + ".tmp", JsonSerializer.SerializeToUtf8Bytes(this, FirecrackerJson.Default.LaunchedVm));
        File.Move(path + ".tmp", path, overwrite: true);
    }

    /// <summary>Null when it is not there or not what was written.</summary>
    public static LaunchedVm? Read(string runDirectory)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(Path.Combine(runDirectory, FileName)), FirecrackerJson.Default.LaunchedVm);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException or JsonException)
        {
            return null;
        }
    }

    /// <summary>The first thing the VM has otherwise than it was given, or null. Devices may come in any order.</summary>
    public string? Mismatch(VmConfigBody actual)
    {
        if (actual.MachineConfig is not { } machine)
            return "it says nothing of its size";
        if (machine.VcpuCount != Cpus || machine.MemSizeMib != MemoryMib)
        {
            return string.Create(
                CultureInfo.InvariantCulture,
                $"it has {machine.VcpuCount} CPUs and {machine.MemSizeMib} MiB instead of {Cpus} and {MemoryMib}");
        }
        var drives = (actual.Drives ?? []).OfType<DriveBody>().Select(drive => new LaunchedDrive(drive.DriveId, drive.PathOnHost, drive.IsReadOnly)).ToHashSet();
        if (!drives.SetEquals(Drives))
            return $"it has the drives {Words(drives)} instead of {Words(Drives)}";
        var networks = (actual.NetworkInterfaces ?? []).OfType<NetworkInterfaceBody>().ToList();
        if (networks.Count != Networks.Count || Networks.Any(wanted => !networks.Exists(wanted.IsMetBy)))
            return $"it has the networks {Words(networks.Select(n => n.HostDevName))} instead of {Words(Networks.Select(n => n.Tap))}";
        if (actual.Vsock is not { UdsPath: VmFiles.VsockSocket })
            return $"its link is {actual.Vsock?.UdsPath ?? "none"}";
        return (actual.Balloon is not null) == HasBalloon ? null : HasBalloon ? "it has no balloon" : "it has a balloon";
    }

    private static string Words<T>(IEnumerable<T> items) => $"[{string.Join(", ", items)}]";
}

internal sealed record LaunchedDrive(string Id, string Path, bool IsReadOnly)
{
    public override string ToString() => $"{Id}={Path}{(IsReadOnly ? " (read-only)" : "")}";
}

/// <param name="Mac">Null when it is not compared.</param>
internal sealed record LaunchedNetwork(string Id, string Tap, string? Mac)
{
    public bool IsMetBy(NetworkInterfaceBody actual) =>
        actual.IfaceId == Id && actual.HostDevName == Tap && (Mac is null || string.Equals(Mac, actual.GuestMac, StringComparison.OrdinalIgnoreCase));
}
