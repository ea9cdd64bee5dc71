using System.Collections.Concurrent;
using System.Text.Json;
using System.Text.Json.Serialization;
using Ravel.Contracts.Link;

namespace Ravel.Vmm.Fake;

/// <summary>
/// A driver whose VMMs live in this process and whose guests speak the real link (<see cref="FakeGuest"/>). VMMs belong to the
/// driver object, not to who launched them: a second agent given the same driver recovers them.
/// </summary>
public sealed class FakeVmmDriver : IVmmDriver
{
    public const string DriverName = "fake";

    private const string Version = "1";
    private const string SnapshotFile = "fake.json";

    private readonly ConcurrentDictionary<string, FakeVm> _vms = new();
    private readonly ConcurrentDictionary<string, FakeGuest> _saved = new();
    private readonly TimeProvider _time;
    private int _lastPid = 1_000_000_000;

    /// <param name="time">Clock of the guests' sleeps and timeouts.</param>
    public FakeVmmDriver(TimeProvider? time = null) => _time = time ?? TimeProvider.System;

    public string Name => DriverName;

    /// <summary>What goes wrong with each launch; may be replaced at any time.</summary>
    public Func<VmSpec, FakeVmmFaults> Faults { get; set; } = _ => new FakeVmmFaults();

    /// <summary>What <see cref="GuestChannel.IsLossy"/> says.</summary>
    public bool IsLossy { get; init; }

    /// <summary>The VMMs there are, by id.</summary>
    public IReadOnlyDictionary<string, FakeVm> Vms => _vms;

    public Task<VmmProbe> ProbeAsync(CancellationToken cancellationToken) =>
        Task.FromResult(new VmmProbe(Available: true, Version, "none", []));

    public async Task<IVmm> LaunchAsync(VmSpec spec, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        VmSpecRules.Check(spec, DriverName);
        var faults = Faults(spec);
        if (faults.LaunchHangs)
            await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(false);
        if (faults.RestoreFailure is not null && spec.Restore is not null)
            throw new VmRestoreException($"fake VMM {spec.Id}: {faults.RestoreFailure}");
        if (faults.LaunchFailure is not null)
            throw new VmmException($"fake VMM {spec.Id}: {faults.LaunchFailure}");
        foreach (var path in spec.Drives.Select(drive => drive.Path))
        {
            if (!File.Exists(path))
                throw new VmmException($"fake VMM {spec.Id}: drive {path} does not exist");
        }

        var saved = spec.Restore is null ? null : await ReadSnapshotAsync(spec.Restore, cancellationToken).ConfigureAwait(false);
        var pid = Interlocked.Increment(ref _lastPid);
        var vm = new FakeVm(spec, new VmmRecord(DriverName, spec.Id, spec.RunDirectory, pid, (ulong)pid, spec.Cgroup), faults, _time);
        if (!_vms.TryAdd(spec.Id, vm))
            throw new VmmException($"fake VMM {spec.Id} exists already; purge it first");
        if (saved is not null)
            Restore(vm, saved, spec.IsPausedAfterRestore);
        if (faults.DiesAfterLaunch)
            vm.Die();
        return new FakeVmmHandle(this, vm);
    }

    public Task<IVmm?> RecoverAsync(VmmRecord record, CancellationToken cancellationToken)
    {
        var found = _vms.TryGetValue(record.Id, out var vm) && vm.Record == record && !vm.Faults.RecoverFindsNothing;
        return Task.FromResult<IVmm?>(found ? new FakeVmmHandle(this, vm!) : null);
    }

    public Task PurgeAsync(string id, string runDirectory, CancellationToken cancellationToken)
    {
        if (_vms.TryRemove(id, out var vm))
            vm.End(new VmmExit(VmmExitKind.Killed, "purged"));
        return Task.CompletedTask;
    }

    internal void Forget(FakeVm vm) => _vms.TryRemove(new KeyValuePair<string, FakeVm>(vm.Record.Id, vm));

    /// <summary>A guest that runs goes on as it was, if this process saw it saved; another begins its workload anew.</summary>
    private void Restore(FakeVm vm, FakeSnapshot saved, bool isPaused)
    {
        if (_saved.TryGetValue(saved.Id, out var guest))
            vm.Adopt(guest);
        if (isPaused)
            vm.Pause();
        else
            vm.Resume();
        if (guest is null && saved.Config is not null)
            vm.Guest.Value.Continue(saved.Config);
    }

    internal async Task<VmSnapshot> SaveAsync(FakeVm vm, string directory, CancellationToken cancellationToken)
    {
        if (!vm.IsPaused)
            throw new VmmException($"fake VMM {vm.Record.Id} is not paused; pause it before a snapshot");
        if (Directory.Exists(directory))
            throw new VmmException($"snapshot directory {directory} exists already; a snapshot goes into a new one");
        Directory.CreateDirectory(directory);
        var isRunning = vm.Guest.Value.Phase != GuestPhase.Waiting;
        var state = new FakeSnapshot($"{vm.Record.Id}-{vm.Record.Pid}", isRunning ? vm.Guest.Value.Config : null);
        if (isRunning)
            _saved[state.Id] = vm.Guest.Value;
        await File.WriteAllBytesAsync(
            Path.Combine(directory, SnapshotFile),
            JsonSerializer.SerializeToUtf8Bytes(state, FakeJson.Default.FakeSnapshot),
            cancellationToken).ConfigureAwait(false);
        return new VmSnapshot(directory, DriverName, Version);
    }

    private static async Task<FakeSnapshot?> ReadSnapshotAsync(VmSnapshot snapshot, CancellationToken cancellationToken)
    {
        VmSpecRules.CheckSnapshot(snapshot, DriverName, Version);
        try
        {
            var json = await File.ReadAllBytesAsync(Path.Combine(snapshot.Directory, SnapshotFile), cancellationToken).ConfigureAwait(false);
            return JsonSerializer.Deserialize(json, FakeJson.Default.FakeSnapshot);
        }
        catch (Exception e) when (e is IOException or JsonException)
        {
            throw new VmRestoreException($"snapshot {snapshot.Directory} cannot be read: {e.Message}", e);
        }
    }
}

/// <param name="Id">Which of the saved guests.</param>
/// <param name="Config">Of a guest that was running; null for one that waited.</param>
internal sealed record FakeSnapshot(string Id, GuestConfig? Config);

[JsonSerializable(typeof(FakeSnapshot))]
internal sealed partial class FakeJson : JsonSerializerContext;
