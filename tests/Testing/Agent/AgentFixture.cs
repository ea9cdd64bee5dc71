using Microsoft.Extensions.Logging.Abstractions;
using Ravel.Agent;
using Ravel.Agent.Capacity;
using Ravel.Agent.Instances;
using Ravel.Agent.Journal;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Durable;
using Ravel.Vmm.Fake;

namespace Ravel.Testing.Agent;

/// <summary>
/// An agent on a host of fakes: VMMs, images and network outlive it, so that it can be killed and started again on the same journal.
/// Runs on the real clock with short limits; waiting is always for a state, with a deadline that only a failure reaches.
/// </summary>
internal sealed class AgentFixture : IAsyncDisposable
{
    public const string Image = "app";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly string _root;

    /// <param name="time">Its clock.</param>
    /// <param name="parent">Where its directory is made; null: among the temporary ones.</param>
    public AgentFixture(TimeProvider? time = null, string? parent = null)
    {
        _root = Path.Combine(parent ?? Path.GetTempPath(), "ravel-agent-" + MachineId.New());
        Time = time ?? TimeProvider.System;
        Directory.CreateDirectory(_root);
        File.WriteAllText(BootIdFile, "boot-1\n");
        // No guest looks at it: a template that is there spares formatting one.
        Directory.CreateDirectory(Path.Combine(DiskDirectory, "templates"));
        File.WriteAllText(Path.Combine(DiskDirectory, "templates", "16.ext4"), "a disk\n");
        Images = new FakeImageStore(Path.Combine(_root, "images"));
        Images.Add(Image);
        Driver = new FakeVmmDriver(Time);
    }

    public TimeProvider Time { get; }

    public FakeVmmDriver Driver { get; set; }

    public FakeImageStore Images { get; }

    public FakeNodeNetwork Network { get; } = new();

    public FakeGuestKernels Kernels { get; } = new();

    public InstanceOptions Instances { get; set; } = new()
    {
        RestartBackoff = new BackoffPolicy(TimeSpan.FromMilliseconds(1), 2, TimeSpan.FromMilliseconds(20)),
    };

    /// <summary>Whatever the host's disk has left: it is nobody's in these tests.</summary>
    public CapacityOptions Capacity { get; set; } = new() { DiskOvercommit = 1000 };

    /// <summary>One node of several.</summary>
    public bool WaitsForAdmission { get; set; }

    public Ravel.Agent.Logs.LogOptions Logs { get; set; } = new();

    /// <summary>The commit or effect at which the agent is killed; for its next start only.</summary>
    public int? CrashAtPoint { get; set; }

    public CrashSwitch Crash { get; private set; } = new();

    public Task Crashed => Crash.Killed;

    /// <summary>Commits of the running agent.</summary>
    public int Commits { get; private set; }

    public NodeAgent Agent { get; private set; } = null!;

    public NodeService Service => new(Agent);

    public string DiskDirectory => Path.Combine(_root, "data", "agent", "disks");

    public string RunDirectory => Path.Combine(_root, "run");

    public string JournalPath => Path.Combine(_root, "data", "agent", "journal.db");

    private string VolumeDirectory => Path.Combine(_root, "data", "agent", "volumes");

    private string BootIdFile => Path.Combine(_root, "boot_id");

    public AgentOptions Options => new()
    {
        DataDirectory = Path.Combine(_root, "data"),
        RunDirectory = RunDirectory,
        Cgroup = "0",
        Kernels = Kernels,
        DefaultDiskMib = 16,
        Instances = Instances,
        Capacity = Capacity,
        WaitsForAdmission = WaitsForAdmission,
        Logs = Logs,
        BootIdFile = BootIdFile,
        MaxImportBytes = 1024,
        MaxKernelBytes = 1 << 20,
    };

    public async Task<AgentFixture> StartAsync()
    {
        Crash = new CrashSwitch { KillAt = CrashAtPoint };
        Commits = 0;
        var crash = Crash;
        Agent = new NodeAgent(
            Options,
            crash.Guard(Driver),
            crash.Guard(Images),
            crash.Guard(Network),
            Time,
            NullLogger<NodeAgent>.Instance,
            new JournalFaults(crash.ThrowIfDead, () =>
            {
                Commits++;
                crash.Pass();
            }));
        await Agent.StartAsync(CancellationToken.None);
        return this;
    }

    /// <summary>A volume without a file system; no guest looks at it. Before the agent starts.</summary>
    public VolumeId AddVolume()
    {
        var volume = VolumeId.New();
        Directory.CreateDirectory(VolumeDirectory);
        using var file = File.Create(Path.Combine(VolumeDirectory, volume.Value + ".ext4"));
        file.SetLength(16 << 20);
        return volume;
    }

    /// <summary>Whose instance has a volume.</summary>
    public MachineId? HolderOf(VolumeId volume) => Agent.Volumes.List().Single(v => v.Id == volume).Holder;

    /// <summary>Ends the agent as SIGKILL does, and starts another on the same host.</summary>
    public async Task KillAndRestartAsync()
    {
        Crash.Kill();
        await Agent.DisposeAsync();
        Images.ForgetLeases();
        CrashAtPoint = null;
        await StartAsync();
    }

    /// <summary>The host restarts: VMMs and everything below /run are gone.</summary>
    public async Task RebootAsync()
    {
        Crash.Kill();
        await Agent.DisposeAsync();
        Images.ForgetLeases();
        Driver = new FakeVmmDriver(Time);
        if (Directory.Exists(RunDirectory))
            Directory.Delete(RunDirectory, recursive: true);
        await Network.ReconcileAsync([], CancellationToken.None);
        await File.WriteAllTextAsync(BootIdFile, "boot-2\n");
        await StartAsync();
    }

    public static MachineSpec Spec(params string[] command)
    {
        var spec = new MachineSpec
        {
            Namespace = "default",
            App = "app",
            Name = "one",
            Image = Image,
            Cpus = 1,
            MemoryMib = 64,
            Stop = new StopPolicy { Timeout = Google.Protobuf.WellKnownTypes.Duration.FromTimeSpan(TimeSpan.FromSeconds(5)) },
        };
        if (command.Length > 0)
        {
            spec.Command = new StringList();
            spec.Command.Values.AddRange(command);
        }
        return spec;
    }

    public Task<MachineStatus> PutAsync(
        MachineId machine, ulong generation, DesiredState desired, MachineSpec? spec = null, bool force = false, string reservation = "", bool moved = false) =>
        Service.PutMachine(
            new PutMachineRequest
            {
                MachineId = machine.Value,
                Generation = generation,
                Desired = desired,
                Spec = desired == DesiredState.Destroyed ? null : spec ?? Spec(),
                Force = force,
                ReservationId = reservation,
                Moved = moved,
            },
            FakeCall.Context());

    public MachineStatus? Status(MachineId machine) => Agent.Machines.StatusOf(machine);

    /// <summary>Waits until the machine's status is as asked for.</summary>
    public async Task<MachineStatus> UntilAsync(MachineId machine, Func<MachineStatus, bool> condition)
    {
        using var deadline = new CancellationTokenSource(Patience);
        try
        {
            while (true)
            {
                var changed = Agent.Machines.WaitForChangeAsync();
                if (Status(machine) is { } status && condition(status))
                    return status;
                await changed.WaitAsync(deadline.Token);
            }
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"The machine did not come to what was waited for; it is {Status(machine)}, {Agent.Machines.Find(machine)?.Record?.State}.");
        }
    }

    public Task<MachineStatus> UntilAsync(MachineId machine, MachineState state) => UntilAsync(machine, status => status.State == state);

    public async Task<MachineId> RunAsync(MachineSpec? spec = null)
    {
        var machine = MachineId.New();
        await PutAsync(machine, 1, DesiredState.Started, spec);
        await UntilAsync(machine, MachineState.Started);
        return machine;
    }

    public async Task<List<LogEntry>> LogsAsync(MachineId machine, Action<ReadLogsRequest>? change = null)
    {
        var request = new ReadLogsRequest { MachineId = machine.Value };
        change?.Invoke(request);
        var sink = new CollectingWriter<LogEntry>();
        await Service.ReadLogs(request, sink, FakeCall.Context());
        return sink.Items;
    }

    /// <summary>The events behind those that were acknowledged, up to the one that is waited for.</summary>
    public async Task<List<NodeEvent>> EventsAsync(ulong acknowledged = 0, Func<NodeEvent, bool>? until = null)
    {
        using var watching = new CancellationTokenSource(Patience);
        var sink = new CollectingWriter<NodeEvent>();
        Abandon(Service.WatchEvents(new WatchEventsRequest { Acknowledged = acknowledged }, sink, FakeCall.Context(watching.Token)));
        var events = new List<NodeEvent>();
        do
            events.Add(await sink.Stream.ReadAsync(watching.Token));
        while (until is not null && !until(events[^1]));
        await watching.CancelAsync();
        return events;
    }

    /// <summary>What was under way with an agent that was killed ends as it may.</summary>
    public void Abandon(Task task) => _ = task.ContinueWith(t => t.Exception, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);

    public FakeVm VmOf(MachineId machine) => Driver.Vms[Status(machine)!.InstanceId];

    public async ValueTask DisposeAsync()
    {
        await Agent.DisposeAsync();
        Directory.Delete(_root, recursive: true);
    }
}
