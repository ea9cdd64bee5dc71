using System.Globalization;
using Ravel.Linux.Cgroups;
using Ravel.Linux.Processes;
using Ravel.Vmm.Boot;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>
/// The production driver. Firecracker is configured over its API while nothing runs, then started (<see cref="FirecrackerLaunch"/>). With a
/// jailer the process has its own root, user and pid namespace; without one it runs in the run directory.
/// </summary>
public sealed class FirecrackerDriver : IVmmDriver
{
    public const string DriverName = "firecracker";

    private readonly VmmOptions _options;
    private readonly FirecrackerHost _host;
    private readonly VmmProcessHost _processes;

    public FirecrackerDriver(VmmOptions options, TimeProvider? time = null)
    {
        _options = options;
        _host = new FirecrackerHost(options);
        _processes = new VmmProcessHost(DriverName, CgroupTree.Detect(options.CgroupRoot), time ?? TimeProvider.System);
    }

    public string Name => DriverName;

    public bool LimitsNetwork => true;

    public async Task<VmmProbe> ProbeAsync(CancellationToken cancellationToken)
    {
        var (version, findings) = await _host.ExamineAsync(cancellationToken).ConfigureAwait(false);
        var problems = findings.Select(finding => finding.Problem).ToList();
        var isAvailable = !findings.Any(finding => finding.IsFatal);
        var accelerator = Qemu.QemuHost.Detect(null).Accelerator == "kvm" ? "kvm" : "none";
        if (accelerator == "none" && !problems.Exists(problem => problem.Subject == "kvm"))
        {
            problems.Add(new VmmProblem(
                "kvm", "neither kvm_intel nor kvm_amd is loaded with /dev/kvm usable", "enable virtualisation and load the module, or use RAVEL_VMM=qemu"));
        }
        foreach (var words in _processes.Cgroups.Probe())
        {
            problems.Add(new VmmProblem("cgroups", words, "run as root on a host whose control groups are mounted writable"));
            isAvailable &= words.Contains("limits", StringComparison.Ordinal);
        }
        return new VmmProbe(isAvailable, version?.ToString() ?? "", accelerator, problems);
    }

    public async Task<IVmm> LaunchAsync(VmSpec spec, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        VmSpecRules.Check(spec, DriverName);
        CheckPlace(spec);
        var version = await _host.RequireAsync(cancellationToken).ConfigureAwait(false);
        if (spec.Restore is not null)
            await CheckSnapshotAsync(spec, spec.Restore, version, cancellationToken).ConfigureAwait(false);
        var kernel = await PrepareKernelAsync(spec.Boot, version, cancellationToken).ConfigureAwait(false);
        var cgroup = _processes.Prepare(spec, FirecrackerConfiguration.Overhead);
        try
        {
            var launch = new FirecrackerLaunch(_options, _processes, _host, spec with { Boot = spec.Boot with { KernelPath = kernel } }, cgroup);
            return await launch.RunAsync(version, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await PurgeAsync(spec.Id, spec.RunDirectory, CancellationToken.None).ConfigureAwait(false);
            throw;
        }
    }

    public async Task<IVmm?> RecoverAsync(VmmRecord record, CancellationToken cancellationToken)
    {
        if (record.Driver != DriverName || _processes.Find(record) is not { } process)
            return null;
        var place = PlaceOf(record, process.Identity);
        var api = new FirecrackerApi(place.Socket, record.Id);
        try
        {
            var info = await api.DescribeAsync(cancellationToken).ConfigureAwait(false);
            if (info.Id != record.Id || info.State == "Not started")
            {
                // Its launch was cut short before the guest ran: nobody knows of it, so it is as good as gone.
                await process.KillAsync(cancellationToken).ConfigureAwait(false);
                api.Dispose();
                process.Dispose();
                return null;
            }
            var launched = await CompareAsync(record, api, cancellationToken).ConfigureAwait(false);
            return new FirecrackerVm(record, process, api, VmPipes.Open(place, record.RunDirectory), launched, place, _host, VersionOf(info));
        }
        catch (Exception e)
        {
            var isGone = e is IOException or (VmmException and not VmmMismatchException) && await process.EndsSoonAsync().ConfigureAwait(false);
            api.Dispose();
            process.Dispose();
            if (isGone)
                return null;
            throw;
        }
    }

    public async Task PurgeAsync(string id, string runDirectory, CancellationToken cancellationToken)
    {
        if (!VmSpecRules.IsId(id))
            throw new VmmException($"'{id}' is not the id of a VM");
        // The processes first, the jail next, the mark that leads to both last.
        await _processes.PurgeAsync(
            runDirectory, VmFiles.All(runDirectory), cancellationToken, () => new Jail(_options, id).Remove()).ConfigureAwait(false);
    }

    /// <summary>Reads back what the process runs.</summary>
    /// <exception cref="VmmMismatchException">It is not what was launched.</exception>
    private static async Task<LaunchedVm> CompareAsync(VmmRecord record, FirecrackerApi api, CancellationToken cancellationToken)
    {
        if (LaunchedVm.Read(record.RunDirectory) is not { } launched)
            throw new VmmMismatchException($"firecracker VM {record.Id} is not adopted: {record.RunDirectory} does not say what was launched; destroy it");
        var actual = await api.GetAsync("/vm/config", FirecrackerJson.Default.VmConfigBody, cancellationToken).ConfigureAwait(false);
        return launched.Mismatch(actual) is { } words
            ? throw new VmmMismatchException($"firecracker VM {record.Id} is not adopted: {words}; destroy it")
            : launched;
    }

    private void CheckPlace(VmSpec spec)
    {
        if (_options.Jailer is null)
        {
            if (spec.NetworkNamespace is not null)
                throw new VmmException($"firecracker VM {spec.Id} cannot be launched: a network namespace needs the jailer; set RAVEL_JAILER");
            return;
        }
        if (new Jail(_options, spec.Id).SocketPathBytes > VmSpecRules.MaxSocketPath)
            throw new VmmException($"firecracker VM {spec.Id} cannot be launched: the jail directory '{_options.JailDirectory}' is too long for Unix sockets below it");
    }

    /// <summary>Whether the snapshot can be gone on from: Firecracker would end its process over most of this, or not notice.</summary>
    private async Task CheckSnapshotAsync(VmSpec spec, VmSnapshot snapshot, Version version, CancellationToken cancellationToken)
    {
        VmSpecRules.CheckSnapshot(snapshot, DriverName, version.ToString());
        var seal = SnapshotSeal.Read(snapshot.Directory);
        if (seal.Mismatch(spec) is { } words)
            throw new VmRestoreException($"snapshot {snapshot.Directory} cannot be restored: {words}");
        await Task.Run(() => seal.Verify(snapshot.Directory), cancellationToken).ConfigureAwait(false);
        var readable = await _host.SnapshotFormatAsync(cancellationToken).ConfigureAwait(false);
        var format = await _host.DescribeSnapshotAsync(Path.Combine(snapshot.Directory, VmFiles.SnapshotState), cancellationToken).ConfigureAwait(false);
        if (format != readable)
            throw new VmRestoreException($"snapshot {snapshot.Directory} has format {format}; this Firecracker reads {readable}");
    }

    private static async Task<string> PrepareKernelAsync(BootSource boot, Version version, CancellationToken cancellationToken)
    {
        if (!File.Exists(boot.KernelPath))
            throw new VmmException($"kernel {boot.KernelPath} does not exist");
        // Kept beside the initramfs, in a directory of ours.
        return version >= FirecrackerConfiguration.FirstWithBzImage
            ? boot.KernelPath
            : await KernelImage.EnsureElfAsync(boot.KernelPath, Path.GetDirectoryName(boot.InitramfsPath)!, cancellationToken).ConfigureAwait(false);
    }

    private VmPlace PlaceOf(VmmRecord record, ProcessIdentity identity)
    {
        if (_options.Jailer is null)
            return new VmPlace(record.RunDirectory, record.RunDirectory, null);
        var jail = new Jail(_options, record.Id);
        return new VmPlace(jail.Root, jail.Directory, OwnerOf(identity));
    }

    private static string VersionOf(InstanceInfo info) =>
        (FirecrackerConfiguration.ParseVersion(" v" + info.VmmVersion) ?? new Version(0, 0)).ToString();

    /// <summary>The user a jailed process runs under; null for root.</summary>
    private static int? OwnerOf(ProcessIdentity identity)
    {
        var line = File.ReadLines($"/proc/{identity.Pid}/status").FirstOrDefault(text => text.StartsWith("Uid:", StringComparison.Ordinal));
        var words = line?.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        return words is { Length: > 1 } && int.TryParse(words[1], CultureInfo.InvariantCulture, out var uid) && uid != 0 ? uid : null;
    }
}
