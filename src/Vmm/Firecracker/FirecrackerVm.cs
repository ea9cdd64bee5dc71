using Ravel.Linux.Files;
using Ravel.Linux.Processes;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>A hold on a running Firecracker: its process, its API, its log and metrics, and the socket its guest dials.</summary>
internal sealed class FirecrackerVm : IVmm
{
    /// <summary>What no state file comes near: it describes devices and registers.</summary>
    public const long MaxStateBytes = 64 << 20;

    /// <summary>How long usage may take: a Firecracker that does not answer costs its figures, not the caller's time.</summary>
    private static readonly TimeSpan MetricsTimeout = TimeSpan.FromSeconds(2);

    private readonly VmmProcess _process;
    private readonly FirecrackerApi _api;
    private readonly VmPipes _pipes;
    private readonly LaunchedVm _launched;
    private readonly VmPlace _place;
    private readonly FirecrackerHost _host;
    private readonly string _version;
    private readonly TaskCompletionSource<VmmExit> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _disposed = new();
    private readonly Task _watching;

    public FirecrackerVm(
        VmmRecord record, VmmProcess process, FirecrackerApi api, VmPipes pipes, LaunchedVm launched, VmPlace place, FirecrackerHost host, string version)
    {
        Record = record;
        _process = process;
        _api = api;
        _pipes = pipes;
        _launched = launched;
        _place = place;
        _host = host;
        _version = version;
        _watching = WatchAsync();
    }

    public VmmRecord Record { get; }

    public Task<VmmExit> Exited => _exited.Task;

    public async Task<GuestChannel> ConnectGuestAsync(CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _disposed.Token);
        var accepting = _pipes.Link.AcceptAsync(either.Token);
        if (await Task.WhenAny(accepting, _process.Exited).ConfigureAwait(false) == accepting)
            return new GuestChannel(await accepting.ConfigureAwait(false), IsLossy: false);
        await either.CancelAsync().ConfigureAwait(false);
        await ((Task)accepting).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        throw new VmmException($"firecracker VM {Record.Id} has ended: {(await Exited.ConfigureAwait(false)).Detail}");
    }

    public Task PauseAsync(CancellationToken cancellationToken) => SetStateAsync("Paused", cancellationToken);

    public Task ResumeAsync(CancellationToken cancellationToken) => SetStateAsync("Resumed", cancellationToken);

    public Task<VmSnapshot> SnapshotAsync(string directory, CancellationToken cancellationToken) => SaveAsync(directory, null, cancellationToken);

    public async Task<VmSnapshot> SnapshotChangesAsync(string directory, VmSnapshot since, CancellationToken cancellationToken) =>
        await SaveAsync(directory, await Task.Run(() => BaselineOf(since), cancellationToken).ConfigureAwait(false), cancellationToken).ConfigureAwait(false);

    public Task SetBalloonAsync(int mib, CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        if (!_launched.HasBalloon)
            throw new VmmException($"firecracker VM {Record.Id} has no balloon");
        if (mib < 0 || mib >= _launched.MemoryMib)
            throw new VmmException($"firecracker VM {Record.Id} has {_launched.MemoryMib} MiB: its balloon cannot take {mib}");
        return _api.PatchAsync("/balloon", new BalloonUpdateBody(mib), FirecrackerJson.Default.BalloonUpdateBody, cancellationToken);
    }

    public async Task SetLimitsAsync(VmLimits limits, CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        VmmProcessHost.Limit(Record, _process, limits);
        await LimitDevicesAsync(_api, _launched, limits, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Changes the limiters of a VM that has started (docs/api_requests/patch-block.md, patch-network-interface.md).</summary>
    internal static async Task LimitDevicesAsync(FirecrackerApi api, LaunchedVm vm, VmLimits limits, CancellationToken cancellationToken)
    {
        var (disk, network) = (FirecrackerConfiguration.LimiterFromNowOn(limits.Disk), FirecrackerConfiguration.LimiterFromNowOn(limits.Network));
        foreach (var drive in vm.Drives)
        {
            await api.PatchAsync(
                $"/drives/{drive.Id}", new PartialDriveBody(drive.Id, disk), FirecrackerJson.Default.PartialDriveBody, cancellationToken).ConfigureAwait(false);
        }
        foreach (var card in vm.Networks)
        {
            var body = new PartialNetworkInterfaceBody(card.Id, network, network);
            await api.PatchAsync($"/network-interfaces/{card.Id}", body, FirecrackerJson.Default.PartialNetworkInterfaceBody, cancellationToken).ConfigureAwait(false);
        }
    }

    public async Task<VmmMetrics> GetMetricsAsync(CancellationToken cancellationToken)
    {
        var metrics = _process.Measure();
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(MetricsTimeout);
        BalloonUsage? balloon = null;
        try
        {
            await _api.PutAsync("/actions", new ActionBody("FlushMetrics"), FirecrackerJson.Default.ActionBody, deadline.Token).ConfigureAwait(false);
            if (_launched.HasBalloon)
            {
                var said = await _api.GetAsync("/balloon/statistics", FirecrackerJson.Default.BalloonStatsBody, deadline.Token).ConfigureAwait(false);
                balloon = new BalloonUsage(Bounded(said.TargetMib), Bounded(said.ActualMib), said.AvailableMemory);
            }
        }
        catch (Exception e) when (e is VmmException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            // What was written before counts; a guest whose driver is not up yet says nothing of its balloon.
        }
        return metrics with { Disk = _pipes.Meter.Read(), Balloon = balloon };

        static int Bounded(long mib) => (int)Math.Clamp(mib, 0, int.MaxValue);
    }

    /// <summary>Firecracker's standard output is the guest's serial port.</summary>
    public Task<string> ReadConsoleAsync(CancellationToken cancellationToken) => Task.FromResult(_process.ReadOutput());

    public async Task KillAsync(CancellationToken cancellationToken)
    {
        await _process.KillAsync(cancellationToken).ConfigureAwait(false);
        await _exited.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        await _disposed.CancelAsync().ConfigureAwait(false);
        _pipes.Link.Dispose();
        _api.Dispose();
        await _watching.ConfigureAwait(false);
        _pipes.Dispose();
        _process.Dispose();
    }

    private async Task WatchAsync()
    {
        try
        {
            await _process.Exited.WaitAsync(_disposed.Token).ConfigureAwait(false);
            var status = await _process.DescribeEndAsync().ConfigureAwait(false);
            var log = ConsoleText.Decode(_pipes.Log?.ReadTail() ?? []);
            // The jailer's child is not ours to wait for: there the log alone knows.
            var endedWell = log.Contains("exiting successfully", StringComparison.Ordinal)
                || status.StartsWith("exit status 0", StringComparison.Ordinal);
            var last = log.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault() ?? status;
            _exited.TrySetResult(FirecrackerConfiguration.Classify(_process.IsKilled, endedWell, _process.ReadOutput(), last));
        }
        catch (OperationCanceledException)
        {
            // Let go of: whoever adopts the VM asks anew.
        }
    }

    /// <summary>
    /// Firecracker writes into the VM's directory; the files are then the host's, sealed, and appear under their name at once. With a
    /// baseline, changes are written by Firecracker itself into a copy of it (docs/snapshotting, "Creating diff snapshots"): there is no chain
    /// of snapshots that need one another.
    /// </summary>
    private async Task<VmSnapshot> SaveAsync(string directory, string? baseline, CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        if (Path.Exists(directory))
            throw new VmmException($"snapshot directory {directory} exists already; a snapshot goes into a new one");
        var partial = directory + ".partial";
        try
        {
            // Left by a restore: the state is read, and the mapped memory lives on without its name.
            RemoveFiles();
            if (baseline is not null)
            {
                await Task.Run(() => SparseFile.Copy(baseline, Path.Combine(_place.Own, VmFiles.Taken(VmFiles.SnapshotMemory))), cancellationToken).ConfigureAwait(false);
                _place.Give(VmFiles.SnapshotMemory, VmFiles.Taken(VmFiles.SnapshotMemory));
            }
            // Firecracker counts changes anew from here on, also for a snapshot that does not get through the rest.
            File.Delete(Path.Combine(Record.RunDirectory, VmFiles.Baseline));
            await _api.PutAsync(
                "/snapshot/create",
                new SnapshotCreateBody(baseline is null ? "Full" : "Diff", VmFiles.SnapshotState, VmFiles.SnapshotMemory),
                FirecrackerJson.Default.SnapshotCreateBody,
                cancellationToken).ConfigureAwait(false);
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
            Directory.CreateDirectory(partial, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            _place.Take(VmFiles.SnapshotState, Path.Combine(partial, VmFiles.SnapshotState), MaxStateBytes);
            _place.Take(VmFiles.SnapshotMemory, Path.Combine(partial, VmFiles.SnapshotMemory), (long)_launched.MemoryMib << 20);
            var format = await _host.DescribeSnapshotAsync(Path.Combine(partial, VmFiles.SnapshotState), cancellationToken).ConfigureAwait(false);
            var seal = await Task.Run(() => SnapshotSeal.Write(partial, format, _launched), cancellationToken).ConfigureAwait(false);
            Directory.Move(partial, directory);
            FileBlocks.SyncDirectory(Path.GetDirectoryName(directory)!);
            WriteBaseline(Record.RunDirectory, seal);
            return new VmSnapshot(directory, FirecrackerDriver.DriverName, _version);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"snapshot {directory} could not be written: {e.Message}", e);
        }
        finally
        {
            RemoveFiles();
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
        }
    }

    private void RemoveFiles()
    {
        foreach (var name in (string[])[VmFiles.SnapshotState, VmFiles.SnapshotMemory])
        {
            File.Delete(Path.Combine(_place.Directory, name));
            File.Delete(Path.Combine(_place.Own, VmFiles.Taken(name)));
        }
    }

    /// <summary>
    /// The memory that changes can be written onto; null when everything has to be: the VM does not track its memory, the snapshot is not
    /// what its changes are counted from, or it is damaged.
    /// </summary>
    private string? BaselineOf(VmSnapshot since)
    {
        if (!_launched.TracksMemory || since.Driver != FirecrackerDriver.DriverName)
            return null;
        try
        {
            var seal = SnapshotSeal.Read(since.Directory);
            var file = Path.Combine(Record.RunDirectory, VmFiles.Baseline);
            if (!File.Exists(file) || File.ReadAllText(file) != seal.Identity)
                return null;
            seal.Verify(since.Directory);
            return Path.Combine(since.Directory, VmFiles.SnapshotMemory);
        }
        catch (Exception e) when (e is VmmException or IOException)
        {
            return null;
        }
    }

    /// <summary>Notes what the VM's changes of memory are counted from.</summary>
    internal static void WriteBaseline(string runDirectory, SnapshotSeal seal)
    {
        var path = Path.Combine(runDirectory, VmFiles.Baseline);
        File.WriteAllText(path + ".tmp", seal.Identity);
        File.Move(path + ".tmp", path, overwrite: true);
    }

    private Task SetStateAsync(string state, CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        return _api.PatchAsync("/vm", new VmStateBody(state), FirecrackerJson.Default.VmStateBody, cancellationToken);
    }

    private void ThrowIfEnded()
    {
        if (_exited.Task.IsCompleted)
            throw new VmmException($"firecracker VM {Record.Id} has ended: {_exited.Task.Result.Detail}");
    }
}

/// <summary>What the host holds of a VM besides its process and API.</summary>
/// <param name="Log">Null when a VM that is adopted has none any more.</param>
internal sealed record VmPipes(OutputPipe? Log, DeviceMeter Meter, VsockListener Link) : IDisposable
{
    /// <summary>Those of a VM that runs.</summary>
    /// <exception cref="IOException">One cannot be opened; none is left open.</exception>
    public static VmPipes Open(VmPlace place, string runDirectory)
    {
        OutputPipe? log = null;
        DeviceMeter? meter = null;
        try
        {
            log = OutputPipe.Open(Path.Combine(place.Own, VmFiles.Log));
            meter = DeviceMeter.Open(Path.Combine(place.Own, VmFiles.Metrics), runDirectory);
            return new VmPipes(log, meter, VsockListener.Create(place));
        }
        catch
        {
            meter?.Dispose();
            log?.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        Link.Dispose();
        Meter.Dispose();
        Log?.Dispose();
    }
}
