using System.Globalization;
using Ravel.Linux.Cgroups;
using Ravel.Linux.Processes;
using Ravel.Vmm.Boot;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>
/// The production driver. Firecracker is configured over its API while nothing runs, then started:
/// <code>
/// launch.json → cgroup → [jail] → files → process → API answers → PUT … → InstanceStart → running
///                                                            └──→ PUT /snapshot/load → Resumed ──┘
/// </code>
/// With a jailer the process has its own root, user, pid namespace; without one it runs in the run directory.
/// </summary>
public sealed class FirecrackerDriver : IVmmDriver
{
    public const string DriverName = "firecracker";

    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(1);

    private readonly VmmOptions _options;
    private readonly VmmProcessHost _processes;
    private Version? _version;

    public FirecrackerDriver(VmmOptions options, TimeProvider? time = null)
    {
        _options = options;
        _processes = new VmmProcessHost(DriverName, CgroupTree.Detect(options.CgroupRoot), time ?? TimeProvider.System);
    }

    public string Name => DriverName;

    public async Task<VmmProbe> ProbeAsync(CancellationToken cancellationToken)
    {
        var problems = new List<VmmProblem>();
        var version = "";
        try
        {
            version = (await GetVersionAsync(cancellationToken).ConfigureAwait(false)).ToString();
        }
        catch (VmmException e)
        {
            problems.Add(new VmmProblem("firecracker", e.Message, "set RAVEL_FIRECRACKER to the binary of a Firecracker release"));
        }
        if (_options.Jailer is not null && Executable.Find(_options.Jailer) is null)
            problems.Add(new VmmProblem("jailer", $"{_options.Jailer} is not there", "set RAVEL_JAILER to the jailer of the same release"));
        var isAvailable = problems.Count == 0;
        var accelerator = Qemu.QemuHost.Detect(null).Accelerator == "kvm" ? "kvm" : "none";
        if (accelerator == "none")
        {
            problems.Add(new VmmProblem(
                "kvm", "neither kvm_intel nor kvm_amd is loaded with /dev/kvm usable", "enable virtualisation and load the module, or use RAVEL_VMM=qemu"));
        }
        foreach (var words in _processes.Cgroups.Probe())
        {
            problems.Add(new VmmProblem("cgroups", words, "run as root on a host whose control groups are mounted writable"));
            isAvailable &= words.Contains("limits", StringComparison.Ordinal);
        }
        return new VmmProbe(isAvailable, version, accelerator, problems);
    }

    public async Task<IVmm> LaunchAsync(VmSpec spec, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        VmSpecRules.Check(spec, DriverName);
        var version = await GetVersionAsync(cancellationToken).ConfigureAwait(false);
        if (spec.Restore is not null)
            VmSpecRules.CheckSnapshot(spec.Restore, DriverName, version.ToString());
        var kernel = await PrepareKernelAsync(spec.Boot, version, cancellationToken).ConfigureAwait(false);
        // Firecracker's threads are few and mostly wait; half a CPU covers its device emulation.
        var cgroup = _processes.Prepare(spec, new CgroupLimits(((long)spec.MemoryMib + FirecrackerConfiguration.OverheadMib) << 20, spec.Cpus + 0.5));
        try
        {
            return await StartAsync(spec with { Boot = spec.Boot with { KernelPath = kernel } }, version, cgroup, cancellationToken).ConfigureAwait(false);
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
        var directory = DirectoryOf(record.Id, record.RunDirectory);
        var api = new FirecrackerApi(Path.Combine(directory, VmFiles.ApiSocket), record.Id);
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
            var link = VsockListener.Create(directory, OwnerOf(process.Identity));
            return new FirecrackerVm(
                record, process, api, OutputPipe.Open(Path.Combine(directory, VmFiles.Log)), link, directory, VersionOf(info));
        }
        catch (Exception e)
        {
            var isGone = e is VmmException or IOException && await process.EndsSoonAsync().ConfigureAwait(false);
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

    private async Task<IVmm> StartAsync(VmSpec spec, Version version, Cgroup cgroup, CancellationToken cancellationToken)
    {
        var directory = DirectoryOf(spec.Id, spec.RunDirectory);
        var user = PlaceFiles(spec, directory);
        OutputPipe? log = null;
        VsockListener? link = null;
        VmmProcess? process = null;
        FirecrackerApi? api = null;
        try
        {
            log = OutputPipe.Create(Path.Combine(directory, VmFiles.Log));
            if (user is { } owner)
                FileLinks.ChangeOwner(Path.Combine(directory, VmFiles.Log), owner, owner);
            link = VsockListener.Create(directory, user);
            process = await StartProcessAsync(spec, cgroup, directory, user, cancellationToken).ConfigureAwait(false);
            var socket = Path.Combine(directory, VmFiles.ApiSocket);
            await WaitForApiAsync(spec, process, socket, cancellationToken).ConfigureAwait(false);
            api = new FirecrackerApi(socket, spec.Id);
            await ConfigureAsync(spec, api, cancellationToken).ConfigureAwait(false);
            var identity = process.Identity;
            var record = new VmmRecord(DriverName, spec.Id, spec.RunDirectory, identity.Pid, identity.StartTime, spec.Cgroup);
            return new FirecrackerVm(record, process, api, log, link, directory, version.ToString());
        }
        catch (Exception e)
        {
            api?.Dispose();
            link?.Dispose();
            var words = process is null ? "" : process.ReadOutput().Trim();
            process?.Dispose();
            log?.Dispose();
            if (e is IOException or UnauthorizedAccessException)
                throw new VmmException($"firecracker VM {spec.Id} could not be launched: {e.Message}", e);
            if (e is VmmException && process is not null && process.Exited.IsCompleted && words.Length > 0)
                throw new VmmException($"{e.Message}; its last words: {words[Math.Max(0, words.Length - 1000)..]}", e);
            throw;
        }
    }

    private static async Task ConfigureAsync(VmSpec spec, FirecrackerApi api, CancellationToken cancellationToken)
    {
        await api.PutAsync("/logger", FirecrackerConfiguration.Logger, FirecrackerJson.Default.LoggerBody, cancellationToken).ConfigureAwait(false);
        if (spec.Restore is not null)
        {
            await api.PutAsync("/snapshot/load", FirecrackerConfiguration.Load(spec), FirecrackerJson.Default.SnapshotLoadBody, cancellationToken).ConfigureAwait(false);
            if (spec.IsPausedAfterRestore)
                return;
            await api.PatchAsync("/vm", new VmStateBody("Resumed"), FirecrackerJson.Default.VmStateBody, cancellationToken).ConfigureAwait(false);
            return;
        }
        await api.PutAsync("/machine-config", FirecrackerConfiguration.Machine(spec), FirecrackerJson.Default.MachineConfiguration, cancellationToken).ConfigureAwait(false);
        await api.PutAsync("/boot-source", FirecrackerConfiguration.Boot(spec), FirecrackerJson.Default.BootSourceBody, cancellationToken).ConfigureAwait(false);
        foreach (var drive in FirecrackerConfiguration.Drives(spec))
            await api.PutAsync($"/drives/{drive.DriveId}", drive, FirecrackerJson.Default.DriveBody, cancellationToken).ConfigureAwait(false);
        foreach (var network in FirecrackerConfiguration.Networks(spec))
            await api.PutAsync($"/network-interfaces/{network.IfaceId}", network, FirecrackerJson.Default.NetworkInterfaceBody, cancellationToken).ConfigureAwait(false);
        await api.PutAsync("/vsock", FirecrackerConfiguration.Vsock, FirecrackerJson.Default.VsockBody, cancellationToken).ConfigureAwait(false);
        await api.PutAsync("/entropy", new EntropyBody(), FirecrackerJson.Default.EntropyBody, cancellationToken).ConfigureAwait(false);
        await api.PutAsync("/actions", new ActionBody("InstanceStart"), FirecrackerJson.Default.ActionBody, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Puts the files at the names the VM knows them by; returns the jail's user.</summary>
    private int? PlaceFiles(VmSpec spec, string directory)
    {
        var files = new List<(string Source, string Name, bool IsReadOnly)>
        {
            (spec.Boot.KernelPath, VmFiles.Kernel, true),
            (spec.Boot.InitramfsPath, VmFiles.Initramfs, true),
        };
        files.AddRange(spec.Drives.Select((drive, i) => (drive.Path, VmFiles.Drive(i), drive.ReadOnly)));
        if (spec.Restore is { } snapshot)
        {
            files.Add((Path.Combine(snapshot.Directory, VmFiles.SnapshotState), VmFiles.SnapshotState, true));
            files.Add((Path.Combine(snapshot.Directory, VmFiles.SnapshotMemory), VmFiles.SnapshotMemory, true));
        }
        if (files.FirstOrDefault(file => !File.Exists(file.Source)) is { Source: not null } missing)
            throw new VmmException($"firecracker VM {spec.Id} cannot be launched: {missing.Source} does not exist");
        if (_options.Jailer is null)
        {
            foreach (var (source, name, _) in files)
            {
                File.Delete(Path.Combine(directory, name));
                File.CreateSymbolicLink(Path.Combine(directory, name), source);
            }
            return null;
        }
        var jail = new Jail(_options, spec.Id);
        jail.Remove();
        var uid = jail.Create();
        foreach (var (source, name, isReadOnly) in files)
            jail.Place(source, name, uid, isReadOnly);
        return uid;
    }

    private async Task<VmmProcess> StartProcessAsync(VmSpec spec, Cgroup cgroup, string directory, int? user, CancellationToken cancellationToken)
    {
        var firecracker = FindFirecracker();
        if (user is null)
            return _processes.Start(spec, cgroup, firecracker, ["--id", spec.Id, "--api-sock", VmFiles.ApiSocket], [], directory);

        var program = Executable.Find(_options.Jailer!) ?? throw new VmmException($"jailer {_options.Jailer} is not there");
        var jail = new Jail(_options, spec.Id);
        var arguments = jail.Arguments(firecracker, user.Value, _processes.Cgroups.HasUnified, _processes.Cgroups.PathOf(spec.Cgroup));
        using var jailer = _processes.Start(spec, cgroup, program, arguments, [], directory);
        await jailer.Exited.WaitAsync(StartTimeout, _processes.Time, cancellationToken).ConfigureAwait(false);
        // It exits 0 at once and leaves the VM's pid behind; whatever else it says is a failure.
        var end = await jailer.DescribeEndAsync().ConfigureAwait(false);
        if (!end.StartsWith("exit status 0", StringComparison.Ordinal)
            || !File.Exists(jail.PidFile)
            || !int.TryParse(await File.ReadAllTextAsync(jail.PidFile, cancellationToken).ConfigureAwait(false), CultureInfo.InvariantCulture, out var pid)
            || ProcessIdentity.Read(pid) is not { } identity
            || !cgroup.ListProcesses().Contains(pid))
        {
            throw new VmmException($"firecracker VM {spec.Id}: the jailer failed: {end}");
        }
        var record = new VmmRecord(DriverName, spec.Id, spec.RunDirectory, identity.Pid, identity.StartTime, spec.Cgroup);
        return _processes.Find(record) ?? throw new VmmException($"firecracker VM {spec.Id} ended at once: {end}");
    }

    private async Task WaitForApiAsync(VmSpec spec, VmmProcess process, string socket, CancellationToken cancellationToken)
    {
        var start = _processes.Time.GetTimestamp();
        while (!await FirecrackerApi.IsListeningAsync(socket, cancellationToken).ConfigureAwait(false))
        {
            if (process.Exited.IsCompleted)
                throw new VmmException($"firecracker VM {spec.Id} ended before it answered: {await process.DescribeEndAsync().ConfigureAwait(false)}");
            if (_processes.Time.GetElapsedTime(start) > StartTimeout)
                throw new VmmException($"firecracker VM {spec.Id} did not answer within {StartTimeout.TotalSeconds:0} s: {process.ReadOutput().Trim()}");
            await Task.Delay(Poll, _processes.Time, cancellationToken).ConfigureAwait(false);
        }
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

    private async Task<Version> GetVersionAsync(CancellationToken cancellationToken)
    {
        if (_version is not null)
            return _version;
        try
        {
            var words = await CommandRunner.RunCheckedAsync(FindFirecracker(), ["--version"], cancellationToken: cancellationToken).ConfigureAwait(false);
            return _version = FirecrackerConfiguration.ParseVersion(words)
                ?? throw new VmmException($"{_options.Firecracker} --version says no version: {words.Split('\n')[0]}");
        }
        catch (CommandException e)
        {
            throw new VmmException(e.Message, e);
        }
    }

    private string FindFirecracker() =>
        Executable.Find(_options.Firecracker) ?? throw new VmmException($"{_options.Firecracker} is not there: set RAVEL_FIRECRACKER to the binary of a Firecracker release");

    private string DirectoryOf(string id, string runDirectory) => _options.Jailer is null ? runDirectory : new Jail(_options, id).Root;

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
