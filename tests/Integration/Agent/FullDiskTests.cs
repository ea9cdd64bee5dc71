using Grpc.Core;
using Ravel.Agent.Capacity;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Linux.Processes;
using Ravel.Testing.Agent;
using Ravel.Testing.Needs;
using Ravel.Vmm;

namespace Ravel.Integration.Agent;

/// <summary>An agent whose data directory is a small file system: what does not fit is refused, and what fills it up stops nobody for good.</summary>
public sealed class FullDiskTests : IAsyncLifetime
{
    private const int DiskMib = 256;

    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-full-").FullName;
    private AgentFixture _host = null!;

    public FullDiskTests() => Need.Program("mkfs.ext4");

    private string Volumes => Path.Combine(_host.Options.DataDirectory, "agent", "volumes");

    private string Memory => Path.Combine(_host.Options.DataDirectory, "agent", "memory");

    public async ValueTask InitializeAsync()
    {
        await CommandRunner.RunCheckedAsync("mount", ["-t", "tmpfs", "-o", $"size={DiskMib}m", "tmpfs", _directory]);
        // It may be full although nobody was promised so much: others fill it.
        _host = new AgentFixture(parent: _directory) { Capacity = new CapacityOptions { DiskOvercommit = 1000, ReservedDiskMib = 0 } };
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        await CommandRunner.RunCheckedAsync("umount", [_directory]);
        Directory.Delete(_directory);
    }

    [Fact]
    public async Task Disks_logs_volumes_snapshots_and_saved_memory_are_promised_no_more_room_than_there_is()
    {
        _host.Capacity = new CapacityOptions { CpuOvercommit = 1000, ReservedMemoryMib = -1_000_000 };
        await _host.StartAsync();
        var each = _host.Options.DefaultDiskMib + _host.Options.BesidesDiskMib;
        var machines = new List<MachineId>();
        while (LeftMib() >= each)
            machines.Add(await _host.RunAsync());
        Assert.Equal(4, machines.Count);
        var refused = await RefusedAsync(() => _host.PutAsync(MachineId.New(), 1, DesiredState.Started), ProblemCodes.InsufficientCapacity);
        Assert.Contains($"{each} MiB of disk are wanted, {LeftMib()} are not promised", refused, StringComparison.Ordinal);
        Assert.Equal(machines.Count, _host.Agent.Machines.Records.Count());

        // A volume, and its copy.
        var volume = VolumeId.New();
        await PutVolumeAsync(volume, 16);
        await RefusedAsync(() => PutVolumeAsync(VolumeId.New(), LeftMib() + 1), ProblemCodes.InsufficientCapacity);
        Assert.Single(Directory.EnumerateFiles(Volumes));
        while (LeftMib() >= 16)
            await PutVolumeAsync(VolumeId.New(), 16, volume);
        await RefusedAsync(() => PutVolumeAsync(VolumeId.New(), 16, volume), ProblemCodes.InsufficientCapacity);

        // The memory of a machine that is to be suspended has its room before the guest is stopped.
        await RefusedAsync(() => _host.PutAsync(machines[0], 2, DesiredState.Suspended), ProblemCodes.InsufficientCapacity);
        Assert.Equal(MachineState.Started, _host.Status(machines[0])!.State);
        await DestroyAsync(machines[1]);
        await DestroyAsync(machines[2]);
        await _host.PutAsync(machines[0], 2, DesiredState.Suspended);
        await _host.UntilAsync(machines[0], MachineState.Suspended);

        // What was promised is promised still after a restart, and not once more.
        var left = LeftMib();
        await _host.KillAndRestartAsync();
        Assert.InRange(LeftMib(), left - 2, left + 2);
    }

    [Fact]
    public async Task What_is_asked_for_on_a_full_disk_is_refused_and_running_machines_run_on()
    {
        await _host.StartAsync();
        var spec = AgentFixture.Spec("sh", "-c", "print here; sleep");
        var running = await _host.RunAsync(spec);
        var dying = await _host.RunAsync();
        Fill();

        var stranger = MachineId.New();
        await RefusedAsync(() => _host.PutAsync(stranger, 1, DesiredState.Started), ProblemCodes.DiskFull, ProblemCodes.InsufficientCapacity);
        Assert.Null(_host.Status(stranger));
        await RefusedAsync(() => _host.PutAsync(running, 2, DesiredState.Suspended), ProblemCodes.DiskFull, ProblemCodes.InsufficientCapacity);
        await RefusedAsync(() => _host.PutAsync(running, 2, DesiredState.Stopped), ProblemCodes.DiskFull);
        await RefusedAsync(() => PutVolumeAsync(VolumeId.New(), 16), ProblemCodes.DiskFull, ProblemCodes.InsufficientCapacity);
        Assert.Empty(Directory.EnumerateFileSystemEntries(Volumes));
        await RefusedAsync(ImportAsync, ProblemCodes.DiskFull);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_host.Options.ImportsDirectory));
        _host.VmOf(dying).Die();

        // Not even the end of the agent is the end of what runs.
        await _host.KillAndRestartAsync();
        Assert.Equal(MachineState.Started, _host.Status(running)!.State);
        Assert.Equal("hi\n", await ExecAsync(running));

        File.Delete(Filler);
        await _host.UntilAsync(dying, MachineState.Failed);
        await PutVolumeAsync(VolumeId.New(), 16);
        await _host.PutAsync(stranger, 1, DesiredState.Started);
        await _host.UntilAsync(stranger, MachineState.Started);
        await _host.PutAsync(running, 2, DesiredState.Suspended, spec);
        await _host.UntilAsync(running, MachineState.Suspended);
    }

    [Fact]
    public async Task Output_and_exit_of_a_workload_on_a_full_disk_wait_until_there_is_room()
    {
        const int Flood = 20_000_000;
        _host.Logs = new Ravel.Agent.Logs.LogOptions { SegmentBytes = 32 << 20 };
        await _host.StartAsync();
        var machine = MachineId.New();
        Fill(leave: 8 << 20);
        await _host.PutAsync(machine, 1, DesiredState.Started, AgentFixture.Spec("sh", "-c", $"flood {Flood}; exit 7"));
        // Too little for what the guest is sending, over and over.
        await ComesAsync(() => Free < 256 << 10);
        Assert.NotEqual(MachineState.Stopped, _host.Status(machine)!.State);
        Assert.InRange(await PrintedAsync(), 1, Flood - 1);

        File.Delete(Filler);
        Assert.Equal(7, (await _host.UntilAsync(machine, MachineState.Stopped)).Exit.Code);
        Assert.Equal(Flood, await PrintedAsync());

        async Task<int> PrintedAsync() => (await _host.LogsAsync(machine)).Where(line => line.Stream == "stdout").Sum(line => line.Data.Length);
    }

    [Fact]
    public async Task A_disk_that_fills_up_while_memory_is_saved_leaves_the_machine_running()
    {
        await _host.StartAsync();
        var machine = await _host.RunAsync();
        var saving = _host.Crash.Hold = new EffectHold(nameof(IVmm.SnapshotAsync));
        await _host.PutAsync(machine, 2, DesiredState.Suspended);
        await saving.ReachedAsync();
        Fill();
        saving.Release();
        // That it could not be saved is written down when it can be.
        await ComesAsync(() => _host.Agent.Machines.Find(machine)!.WaitsForJournal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(Memory));
        var refused = await RefusedAsync(() => _host.PutAsync(machine, 3, DesiredState.Stopped), ProblemCodes.DiskFull);
        Assert.Contains("written down", refused, StringComparison.Ordinal);
        File.Delete(Filler);
        await _host.UntilAsync(machine, status => status is { State: MachineState.Started, ObservedGeneration: 2 });
        Assert.Equal("hi\n", await ExecAsync(machine));
        Assert.Contains(
            await _host.EventsAsync(until: e => e.Type == "resume"), e => e.Type == "suspending");
    }

    /// <summary>Waits for what no event tells of.</summary>
    private static async Task ComesAsync(Func<bool> isThere)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (!isThere())
            await Task.Delay(TimeSpan.FromMilliseconds(10), deadline.Token);
    }

    private long Free => new DriveInfo(_directory).AvailableFreeSpace;

    private string Filler => Path.Combine(_directory, "filler");

    private long LeftMib()
    {
        var info = _host.Service.GetNode(new GetNodeRequest(), FakeCall.Context()).Result;
        return (long)info.Capacity.DiskMib - (long)info.Allocated.DiskMib;
    }

    /// <summary>Takes what is free, all but <paramref name="leave"/> bytes of it.</summary>
    private void Fill(long leave = 0)
    {
        var page = new byte[4096];
        using var file = new FileStream(Filler, FileMode.Append, FileAccess.Write, FileShare.Read, bufferSize: 0);
        try
        {
            while (Free > leave)
                file.Write(page);
        }
        catch (IOException) when (leave == 0)
        {
            // Somebody was quicker to take the last of it.
        }
    }

    private async Task DestroyAsync(MachineId machine)
    {
        await _host.PutAsync(machine, 2, DesiredState.Destroyed, force: true);
        await _host.UntilAsync(machine, MachineState.Destroyed);
    }

    private Task<VolumeStatus> PutVolumeAsync(VolumeId volume, long mib, VolumeId? source = null) => _host.Service.PutVolume(
        new PutVolumeRequest { VolumeId = volume.Value, SizeMib = (ulong)mib, SourceId = source?.Value ?? "" }, FakeCall.Context());

    private Task ImportAsync() => _host.Service.ImportImage(
        new ChannelStreamReader<ImportImageChunk>(new ImportImageChunk { Reference = "x", Data = Google.Protobuf.ByteString.CopyFrom(new byte[1000]) }),
        FakeCall.Context());

    private async Task<string> ExecAsync(MachineId machine)
    {
        var start = new ExecStart { MachineId = machine.Value };
        start.Command.AddRange(["print", "hi"]);
        var output = new CollectingWriter<ExecOutput>();
        await _host.Service.Exec(new ChannelStreamReader<ExecInput>(new ExecInput { Start = start }), output, FakeCall.Context());
        return string.Concat(output.Items.Select(o => o.Stdout?.ToStringUtf8()));
    }

    private static async Task<string> RefusedAsync(Func<Task> call, params string[] codes)
    {
        var refused = await Assert.ThrowsAsync<RpcException>(call);
        Assert.Contains(refused.Trailers.GetValue(NodeTrailers.ProblemCode)!, codes);
        return refused.Status.Detail;
    }
}
