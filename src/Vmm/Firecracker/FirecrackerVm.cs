using Ravel.Linux.Processes;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>A hold on a running Firecracker: its process, its API, its log and the socket its guest dials.</summary>
internal sealed class FirecrackerVm : IVmm
{
    private readonly VmmProcess _process;
    private readonly FirecrackerApi _api;
    private readonly OutputPipe? _log;
    private readonly VsockListener _link;
    private readonly string _directory;
    private readonly string _version;
    private readonly TaskCompletionSource<VmmExit> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _disposed = new();
    private readonly Task _watching;

    /// <param name="directory">Where its files are, seen from the host.</param>
    public FirecrackerVm(VmmRecord record, VmmProcess process, FirecrackerApi api, OutputPipe? log, VsockListener link, string directory, string version)
    {
        Record = record;
        _process = process;
        _api = api;
        _log = log;
        _link = link;
        _directory = directory;
        _version = version;
        _watching = WatchAsync();
    }

    public VmmRecord Record { get; }

    public Task<VmmExit> Exited => _exited.Task;

    public async Task<GuestChannel> ConnectGuestAsync(CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _disposed.Token);
        var accepting = _link.AcceptAsync(either.Token);
        if (await Task.WhenAny(accepting, _process.Exited).ConfigureAwait(false) == accepting)
            return new GuestChannel(await accepting.ConfigureAwait(false), IsLossy: false);
        await either.CancelAsync().ConfigureAwait(false);
        await ((Task)accepting).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        throw new VmmException($"firecracker VM {Record.Id} has ended: {(await Exited.ConfigureAwait(false)).Detail}");
    }

    public Task PauseAsync(CancellationToken cancellationToken) => SetStateAsync("Paused", cancellationToken);

    public Task ResumeAsync(CancellationToken cancellationToken) => SetStateAsync("Resumed", cancellationToken);

    public async Task<VmSnapshot> SnapshotAsync(string directory, CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        if (Path.Exists(directory))
            throw new VmmException($"snapshot directory {directory} exists already; a snapshot goes into a new one");
        var partial = directory + ".partial";
        var state = Path.Combine(_directory, VmFiles.SnapshotState);
        var memory = Path.Combine(_directory, VmFiles.SnapshotMemory);
        try
        {
            // Left by a restore: the state is read, and the mapped memory lives on without its name.
            File.Delete(state);
            File.Delete(memory);
            await _api.PutAsync(
                "/snapshot/create",
                new SnapshotCreateBody("Full", VmFiles.SnapshotState, VmFiles.SnapshotMemory),
                FirecrackerJson.Default.SnapshotCreateBody,
                cancellationToken).ConfigureAwait(false);
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
            Directory.CreateDirectory(partial);
            File.Move(state, Path.Combine(partial, VmFiles.SnapshotState));
            File.Move(memory, Path.Combine(partial, VmFiles.SnapshotMemory));
            Directory.Move(partial, directory);
            return new VmSnapshot(directory, FirecrackerDriver.DriverName, _version);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"snapshot {directory} could not be written: {e.Message}", e);
        }
        finally
        {
            File.Delete(state);
            File.Delete(memory);
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
        }
    }

    public Task<VmmMetrics> GetMetricsAsync(CancellationToken cancellationToken) => Task.FromResult(_process.Measure());

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
        _link.Dispose();
        _api.Dispose();
        await _watching.ConfigureAwait(false);
        _log?.Dispose();
        _process.Dispose();
    }

    private async Task WatchAsync()
    {
        try
        {
            await _process.Exited.WaitAsync(_disposed.Token).ConfigureAwait(false);
            var status = await _process.DescribeEndAsync().ConfigureAwait(false);
            var log = ConsoleText.Decode(_log?.ReadTail() ?? []);
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
