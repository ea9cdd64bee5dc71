using System.Globalization;
using Ravel.Linux.Cgroups;
using Ravel.Linux.Network;
using Ravel.Linux.Processes;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>
/// One launch, from files to a guest that runs. Whatever it leaves when it fails is removed by a purge:
/// <code>
/// files → pipes and link → vm.json → process → API answers → PUT … → InstanceStart
///                                                    └──→ PUT /snapshot/load → limits of today → Resumed
/// </code>
/// </summary>
internal sealed class FirecrackerLaunch(VmmOptions options, VmmProcessHost processes, FirecrackerHost host, VmSpec spec, Cgroup cgroup)
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(1);

    private readonly Jail? _jail = options.Jailer is null ? null : new Jail(options, spec.Id);

    /// <exception cref="VmmException">With the words of whoever refused.</exception>
    public async Task<IVmm> RunAsync(Version version, CancellationToken cancellationToken)
    {
        OutputPipe? log = null;
        VsockListener? link = null;
        DeviceMeter? meter = null;
        VmmProcess? process = null;
        FirecrackerApi? api = null;
        try
        {
            var place = PlaceFiles();
            GiveTaps(place.User);
            log = OutputPipe.Create(Path.Combine(place.Own, VmFiles.Log));
            meter = DeviceMeter.Create(Path.Combine(place.Own, VmFiles.Metrics), spec.RunDirectory);
            place.Share(VmFiles.Log);
            place.Share(VmFiles.Metrics);
            link = VsockListener.Create(place);
            var launched = LaunchedVm.Of(spec);
            launched.Write(spec.RunDirectory);
            process = await StartProcessAsync(place, cancellationToken).ConfigureAwait(false);
            await WaitForApiAsync(process, place.Socket, cancellationToken).ConfigureAwait(false);
            api = new FirecrackerApi(place.Socket, spec.Id);
            if (spec.Restore is null)
                await BootAsync(api, cancellationToken).ConfigureAwait(false);
            else
                await RestoreAsync(api, spec.Restore, cancellationToken).ConfigureAwait(false);
            var record = RecordOf(process.Identity);
            return new FirecrackerVm(record, process, api, new VmPipes(log, meter, link), launched, place, host, version.ToString());
        }
        catch (Exception e)
        {
            api?.Dispose();
            link?.Dispose();
            meter?.Dispose();
            var words = process is null ? "" : process.ReadOutput().Trim();
            process?.Dispose();
            log?.Dispose();
            if (e is IOException or UnauthorizedAccessException or LinuxNetworkException)
                throw new VmmException($"firecracker VM {spec.Id} could not be launched: {e.Message}", e);
            if (e is VmmException and not VmRestoreException && process is not null && process.Exited.IsCompleted && words.Length > 0)
                throw new VmmException($"{e.Message}; its last words: {words[Math.Max(0, words.Length - 1000)..]}", e);
            throw;
        }
    }

    private async Task BootAsync(FirecrackerApi api, CancellationToken cancellationToken)
    {
        await ConfigureOutputAsync(api, cancellationToken).ConfigureAwait(false);
        await api.PutAsync("/machine-config", FirecrackerConfiguration.Machine(spec), FirecrackerJson.Default.MachineConfiguration, cancellationToken).ConfigureAwait(false);
        await api.PutAsync("/boot-source", FirecrackerConfiguration.Boot(spec), FirecrackerJson.Default.BootSourceBody, cancellationToken).ConfigureAwait(false);
        foreach (var drive in FirecrackerConfiguration.Drives(spec))
            await api.PutAsync($"/drives/{drive.DriveId}", drive, FirecrackerJson.Default.DriveBody, cancellationToken).ConfigureAwait(false);
        foreach (var network in FirecrackerConfiguration.Networks(spec))
            await api.PutAsync($"/network-interfaces/{network.IfaceId}", network, FirecrackerJson.Default.NetworkInterfaceBody, cancellationToken).ConfigureAwait(false);
        await api.PutAsync("/vsock", FirecrackerConfiguration.Vsock, FirecrackerJson.Default.VsockBody, cancellationToken).ConfigureAwait(false);
        await api.PutAsync("/entropy", new EntropyBody(), FirecrackerJson.Default.EntropyBody, cancellationToken).ConfigureAwait(false);
        if (spec.HasBalloon)
            await api.PutAsync("/balloon", FirecrackerConfiguration.Balloon, FirecrackerJson.Default.BalloonBody, cancellationToken).ConfigureAwait(false);
        await api.PutAsync("/actions", new ActionBody("InstanceStart"), FirecrackerJson.Default.ActionBody, cancellationToken).ConfigureAwait(false);
    }

    private async Task RestoreAsync(FirecrackerApi api, VmSnapshot snapshot, CancellationToken cancellationToken)
    {
        await ConfigureOutputAsync(api, cancellationToken).ConfigureAwait(false);
        try
        {
            await api.PutAsync("/snapshot/load", FirecrackerConfiguration.Load(spec), FirecrackerJson.Default.SnapshotLoadBody, cancellationToken).ConfigureAwait(false);
        }
        catch (FirecrackerRefusalException e)
        {
            throw new VmRestoreException(e.Message, e);
        }
        // The size of each drive is read anew from its file; its limits are those it was saved with.
        await FirecrackerVm.LimitDevicesAsync(api, LaunchedVm.Of(spec), spec.Limits, cancellationToken).ConfigureAwait(false);
        // From here on the account of memory is against this snapshot.
        if (spec.TracksMemory)
            FirecrackerVm.WriteBaseline(spec.RunDirectory, SnapshotSeal.Read(snapshot.Directory));
        if (!spec.IsPausedAfterRestore)
            await api.PatchAsync("/vm", new VmStateBody("Resumed"), FirecrackerJson.Default.VmStateBody, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Neither is part of a snapshot: both are told to every process.</summary>
    private static async Task ConfigureOutputAsync(FirecrackerApi api, CancellationToken cancellationToken)
    {
        await api.PutAsync("/logger", FirecrackerConfiguration.Logger, FirecrackerJson.Default.LoggerBody, cancellationToken).ConfigureAwait(false);
        await api.PutAsync("/metrics", FirecrackerConfiguration.Metrics, FirecrackerJson.Default.MetricsBody, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Puts the files at the names the VM knows them by.</summary>
    private VmPlace PlaceFiles()
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
        if (_jail is null)
        {
            foreach (var (source, name, _) in files)
            {
                File.Delete(Path.Combine(spec.RunDirectory, name));
                File.CreateSymbolicLink(Path.Combine(spec.RunDirectory, name), source);
            }
            return new VmPlace(spec.RunDirectory, spec.RunDirectory, null);
        }
        _jail.Remove();
        var uid = _jail.Create();
        foreach (var (source, name, isReadOnly) in files)
            _jail.Place(source, name, uid, isReadOnly);
        return new VmPlace(_jail.Root, _jail.Directory, uid);
    }

    /// <summary>
    /// A jailed Firecracker opens taps as its own user, who must own them; one that is not there it may not make. Taps of another network
    /// namespace are the business of whoever made that.
    /// </summary>
    private void GiveTaps(int? user)
    {
        if (spec.NetworkNamespace is not null)
            return;
        foreach (var network in spec.Networks)
        {
            // As root it would make one that nothing is connected to, and say that all is well.
            if (RouteNetlink.IndexOf(network.Tap) is null)
                throw new VmmException($"firecracker VM {spec.Id} cannot be launched: tap {network.Tap} does not exist");
            if (user is { } uid)
                Tap.CreatePersistent(network.Tap, (uint)uid);
        }
    }

    private async Task<VmmProcess> StartProcessAsync(VmPlace place, CancellationToken cancellationToken)
    {
        var firecracker = host.FindFirecracker();
        if (_jail is null || place.User is not { } user)
            return processes.Start(spec, cgroup, firecracker, ["--id", spec.Id, "--api-sock", VmFiles.ApiSocket], [], place.Directory);

        var arguments = _jail.Arguments(
            firecracker, user, processes.Cgroups.HasUnified, processes.Cgroups.PathOf(spec.Cgroup), FirecrackerConfiguration.LongestFile(spec), spec.NetworkNamespace);
        using var jailer = processes.Start(spec, cgroup, host.FindJailer(), arguments, [], place.Own);
        await jailer.Exited.WaitAsync(StartTimeout, processes.Time, cancellationToken).ConfigureAwait(false);
        // It exits 0 at once and leaves the VM's pid behind; whatever else it says is a failure.
        var end = await jailer.DescribeEndAsync().ConfigureAwait(false);
        if (!end.StartsWith("exit status 0", StringComparison.Ordinal)
            || !File.Exists(_jail.PidFile)
            || !int.TryParse(await File.ReadAllTextAsync(_jail.PidFile, cancellationToken).ConfigureAwait(false), CultureInfo.InvariantCulture, out var pid)
            || ProcessIdentity.Read(pid) is not { } identity
            || !cgroup.ListProcesses().Contains(pid))
        {
            throw new VmmException($"firecracker VM {spec.Id}: the jailer failed: {end}");
        }
        return processes.Find(RecordOf(identity)) ?? throw new VmmException($"firecracker VM {spec.Id} ended at once: {end}");
    }

    private async Task WaitForApiAsync(VmmProcess process, string socket, CancellationToken cancellationToken)
    {
        var start = processes.Time.GetTimestamp();
        while (!await FirecrackerApi.IsListeningAsync(socket, cancellationToken).ConfigureAwait(false))
        {
            if (process.Exited.IsCompleted)
                throw new VmmException($"firecracker VM {spec.Id} ended before it answered: {await process.DescribeEndAsync().ConfigureAwait(false)}");
            if (processes.Time.GetElapsedTime(start) > StartTimeout)
                throw new VmmException($"firecracker VM {spec.Id} did not answer within {StartTimeout.TotalSeconds:0} s: {process.ReadOutput().Trim()}");
            await Task.Delay(Poll, processes.Time, cancellationToken).ConfigureAwait(false);
        }
    }

    private VmmRecord RecordOf(ProcessIdentity identity) =>
        new(FirecrackerDriver.DriverName, spec.Id, spec.RunDirectory, identity.Pid, identity.StartTime, spec.Cgroup);
}
