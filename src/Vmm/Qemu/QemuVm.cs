using System.Net.Sockets;
using System.Text.Json;
using Ravel.Vmm.Processes;

namespace Ravel.Vmm.Qemu;

/// <summary>A hold on a running QEMU: its process and its monitor.</summary>
internal sealed class QemuVm : IVmm
{
    private static readonly TimeSpan QuitTimeout = TimeSpan.FromSeconds(5);

    /// <summary>How long usage may take: a QEMU that does not answer costs its figures, not the caller's time.</summary>
    private static readonly TimeSpan MetricsTimeout = TimeSpan.FromSeconds(2);

    /// <summary>The most a throttle of QEMU's takes (THROTTLE_VALUE_MAX).</summary>
    private const long MaxThrottle = 1_000_000_000_000_000;

    private readonly VmmProcess _process;
    private readonly TimeProvider _time;
    private readonly TaskCompletionSource<VmmExit> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<string> _guestEnded = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _disposed = new();
    private readonly SemaphoreSlim _consoleTurn = new(1);
    private readonly QemuStall _stall;
    private QmpClient? _monitor;
    private Task _watching = Task.CompletedTask;
    private Task _retrying = Task.CompletedTask;

    private QemuVm(VmmRecord record, VmmProcess process, TimeProvider time)
    {
        Record = record;
        _process = process;
        _time = time;
        _stall = new QemuStall(this, time);
    }

    public VmmRecord Record { get; }

    public Task<VmmExit> Exited => _exited.Task;

    public QmpClient Monitor => _monitor ?? throw new InvalidOperationException("the monitor is not connected");

    /// <summary>Connects to the monitor of a process. Owns <paramref name="process"/> only once it has returned.</summary>
    public static async Task<QemuVm> AttachAsync(VmmRecord record, VmmProcess process, TimeProvider time, CancellationToken cancellationToken)
    {
        var vm = new QemuVm(record, process, time);
        vm._monitor = await QmpClient.ConnectAsync(
            Path.Combine(record.RunDirectory, QemuDriver.MonitorSocket), time, vm.OnEvent, cancellationToken).ConfigureAwait(false);
        vm._watching = vm.WatchAsync();
        vm._retrying = vm._stall.RunAsync(process.Exited, vm._disposed.Token);
        return vm;
    }

    public async Task<bool> IsOfThisNameAsync(CancellationToken cancellationToken)
    {
        var answer = await Monitor.ExecuteAsync("query-name", null, cancellationToken).ConfigureAwait(false);
        return answer.TryGetProperty("name", out var name) && name.GetString() == Record.Id;
    }

    public async Task<string> GetStatusAsync(CancellationToken cancellationToken)
    {
        var answer = await Monitor.ExecuteAsync("query-status", null, cancellationToken).ConfigureAwait(false);
        return answer.TryGetProperty("status", out var status) ? status.GetString() ?? "" : "";
    }

    /// <summary>Catches up with an end that came before anybody listened. False when the guest never ran.</summary>
    public async Task<bool> ObserveAsync(CancellationToken cancellationToken)
    {
        var status = await GetStatusAsync(cancellationToken).ConfigureAwait(false);
        if (status is "shutdown" or "guest-panicked")
            _guestEnded.TrySetResult(status);
        else if (status == QemuStall.Status)
            _stall.OnStop();
        return status is not ("prelaunch" or "inmigrate");
    }

    public async Task<GuestChannel> ConnectGuestAsync(CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        try
        {
            var path = Path.Combine(Record.RunDirectory, QemuDriver.LinkSocket);
            return new GuestChannel(await UnixListener.ConnectAsync(path, cancellationToken).ConfigureAwait(false), IsLossy: true);
        }
        catch (SocketException e)
        {
            throw new VmmException($"qemu VM {Record.Id} takes no link connection: {e.Message}", e);
        }
    }

    public Task PauseAsync(CancellationToken cancellationToken) => _stall.PauseAsync(() => ExecuteAsync("stop", cancellationToken), cancellationToken);

    public Task ResumeAsync(CancellationToken cancellationToken) => _stall.ResumeAsync(() => ExecuteAsync("cont", cancellationToken), cancellationToken);

    public async Task<VmSnapshot> SnapshotAsync(string directory, CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        var status = await GetStatusAsync(cancellationToken).ConfigureAwait(false);
        if (status != "paused")
            throw new VmmException($"qemu VM {Record.Id} is {status}, not paused; pause it before a snapshot");
        var path = await QemuMigration.SaveAsync(Monitor, Record.RunDirectory, directory, _time, cancellationToken).ConfigureAwait(false);
        return new VmSnapshot(path, QemuDriver.DriverName, Monitor.Version);
    }

    public async Task SetLimitsAsync(VmLimits limits, CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        VmmProcessHost.Limit(Record, _process, limits);
        await LimitDrivesAsync(limits.Disk, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>A second's worth may come at once; zeros lift a limit.</summary>
    public async Task LimitDrivesAsync(RateLimit? limit, CancellationToken cancellationToken)
    {
        var drives = await Monitor.ExecuteAsync("query-block", null, cancellationToken).ConfigureAwait(false);
        for (var i = 0; i < drives.GetArrayLength(); i++)
        {
            var id = QemuCommandLine.DriveDevice(i);
            await Monitor.ExecuteAsync("block_set_io_throttle", Write, cancellationToken).ConfigureAwait(false);

            void Write(Utf8JsonWriter writer)
            {
                var (bytes, operations) = (Bounded(limit?.BytesPerSecond), Bounded(limit?.OperationsPerSecond));
                writer.WriteString("id", id);
                writer.WriteNumber("bps", bytes);
                writer.WriteNumber("iops", operations);
                foreach (var other in (string[])["bps_rd", "bps_wr", "iops_rd", "iops_wr"])
                    writer.WriteNumber(other, 0);
                if (bytes > 0)
                    writer.WriteNumber("bps_max", bytes);
                if (operations > 0)
                    writer.WriteNumber("iops_max", operations);
            }
        }

        static long Bounded(long? value) => Math.Min(value ?? 0, MaxThrottle);
    }

    public async Task<VmmMetrics> GetMetricsAsync(CancellationToken cancellationToken)
    {
        var metrics = _process.Measure();
        using var patience = new CancellationTokenSource(MetricsTimeout, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellationToken);
        try
        {
            return metrics with { Disk = DiskUsageOf(await Monitor.ExecuteAsync("query-blockstats", null, either.Token).ConfigureAwait(false)) };
        }
        catch (Exception e) when (e is VmmException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            return metrics;
        }
    }

    /// <summary>Of all drives together. A QEMU that says nonsense has used nothing.</summary>
    internal static DiskUsage DiskUsageOf(JsonElement drives)
    {
        if (drives.ValueKind != JsonValueKind.Array)
            return new DiskUsage(0, 0, 0, 0);
        return new DiskUsage(Sum("rd_bytes"), Sum("wr_bytes"), Sum("rd_operations"), Sum("wr_operations"));

        long Sum(string name)
        {
            var sum = 0L;
            foreach (var drive in drives.EnumerateArray())
            {
                if (drive.ValueKind == JsonValueKind.Object
                    && drive.TryGetProperty("stats", out var stats) && stats.ValueKind == JsonValueKind.Object
                    && stats.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number
                    && value.TryGetInt64(out var count) && count > 0)
                {
                    sum = count > long.MaxValue - sum ? long.MaxValue : sum + count;
                }
            }
            return sum;
        }
    }

    /// <summary>
    /// Reading takes the bytes out of QEMU's ring, so what was read is kept in a file: the next raveld sees the whole tail, too.
    /// </summary>
    public async Task<string> ReadConsoleAsync(CancellationToken cancellationToken)
    {
        await _consoleTurn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            var path = Path.Combine(Record.RunDirectory, QemuDriver.ConsoleFile);
            byte[] tail = File.Exists(path) ? await File.ReadAllBytesAsync(path, cancellationToken).ConfigureAwait(false) : [];
            var fresh = _process.Exited.IsCompleted ? [] : await ReadRingAsync(cancellationToken).ConfigureAwait(false);
            if (fresh.Length > 0)
            {
                tail = [.. tail, .. fresh];
                tail = tail[Math.Max(0, tail.Length - QemuCommandLine.ConsoleBytes)..];
                await File.WriteAllBytesAsync(path + ".tmp", tail, cancellationToken).ConfigureAwait(false);
                File.Move(path + ".tmp", path, overwrite: true);
            }
            return ConsoleText.Decode(tail);
        }
        catch (IOException e)
        {
            throw new VmmException($"the console of qemu VM {Record.Id} cannot be read: {e.Message}", e);
        }
        finally
        {
            _consoleTurn.Release();
        }
    }

    public async Task KillAsync(CancellationToken cancellationToken)
    {
        await _process.KillAsync(cancellationToken).ConfigureAwait(false);
        await _exited.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        await _disposed.CancelAsync().ConfigureAwait(false);
        if (_monitor is not null)
            await _monitor.DisposeAsync().ConfigureAwait(false);
        await _watching.ConfigureAwait(false);
        await _retrying.ConfigureAwait(false);
        _stall.Dispose();
        _process.Dispose();
    }

    private void OnEvent(string name, JsonElement data)
    {
        switch (name)
        {
            case "STOP":
                _stall.OnStop();
                break;
            case "GUEST_PANICKED":
                _guestEnded.TrySetResult("guest-panicked");
                break;
            case "SHUTDOWN" when data.TryGetProperty("guest", out var byGuest) && byGuest.ValueKind == JsonValueKind.True:
                _guestEnded.TrySetResult(data.TryGetProperty("reason", out var reason) ? reason.GetString() ?? "" : "");
                break;
        }
    }

    private async Task WatchAsync()
    {
        try
        {
            var first = await Task.WhenAny(_process.Exited, _guestEnded.Task).WaitAsync(_disposed.Token).ConfigureAwait(false);
            var exit = first == _process.Exited || _process.IsKilled
                ? await DescribeProcessEndAsync().ConfigureAwait(false)
                : await EndAsync(await _guestEnded.Task.ConfigureAwait(false)).ConfigureAwait(false);
            _exited.TrySetResult(exit);
        }
        catch (OperationCanceledException)
        {
            // Let go of: whoever adopts the VM asks anew.
        }
    }

    private async Task<VmmExit> DescribeProcessEndAsync()
    {
        var words = await _process.DescribeEndAsync().ConfigureAwait(false);
        return _process.IsKilled ? new VmmExit(VmmExitKind.Killed, words) : new VmmExit(VmmExitKind.Lost, $"QEMU ended: {words}");
    }

    /// <summary>The guest is done and QEMU waits: takes the console's last words and ends the process.</summary>
    private async Task<VmmExit> EndAsync(string reason)
    {
        var console = "";
        try
        {
            console = await ReadConsoleAsync(_disposed.Token).ConfigureAwait(false);
            await Monitor.ExecuteAsync("quit", null, _disposed.Token).ConfigureAwait(false);
            await _process.Exited.WaitAsync(QuitTimeout, _time, _disposed.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is VmmException or TimeoutException)
        {
            // It may go before it answers; if it does not go, it is made to.
            await _process.KillAsync(_disposed.Token).ConfigureAwait(false);
        }
        return Classify(reason, console);
    }

    /// <summary>
    /// A kernel that panics resets the machine (panic=-1) as a reboot does; microvm has no panic device, so the kernel's
    /// own last words on the console tell the two apart.
    /// </summary>
    internal static VmmExit Classify(string reason, string console)
    {
        const string PanicWords = "Kernel panic - not syncing";
        var panic = console.LastIndexOf(PanicWords, StringComparison.Ordinal);
        if (reason != "guest-shutdown" && panic >= 0)
            return new VmmExit(VmmExitKind.GuestPanic, console[panic..].Split('\n')[0].Trim());
        return reason == "guest-panicked"
            ? new VmmExit(VmmExitKind.GuestPanic, "the guest's kernel panicked")
            : new VmmExit(VmmExitKind.GuestShutdown, reason == "guest-reset" ? "the guest reset the machine" : "the guest powered off");
    }

    private async Task<byte[]> ReadRingAsync(CancellationToken cancellationToken)
    {
        var answer = await Monitor.ExecuteAsync(
            "ringbuf-read",
            writer =>
            {
                writer.WriteString("device", QemuCommandLine.ConsoleDevice);
                writer.WriteNumber("size", QemuCommandLine.ConsoleBytes);
                writer.WriteString("format", "base64");
            },
            cancellationToken).ConfigureAwait(false);
        return answer.ValueKind == JsonValueKind.String && answer.TryGetBytesFromBase64(out var bytes) ? bytes : [];
    }

    private async Task ExecuteAsync(string command, CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        await Monitor.ExecuteAsync(command, null, cancellationToken).ConfigureAwait(false);
    }

    private void ThrowIfEnded()
    {
        if (_exited.Task.IsCompleted)
            throw new VmmException($"qemu VM {Record.Id} has ended: {_exited.Task.Result.Detail}");
    }
}
