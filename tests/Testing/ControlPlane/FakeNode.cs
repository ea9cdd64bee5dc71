using System.Collections.Concurrent;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Node;

namespace Ravel.Testing.ControlPlane;

/// <summary>
/// A node that keeps its promises without running anything: real gRPC over a Unix socket, machines as records, an outbox with
/// sequence numbers. Scripted where a test needs a node that fails; it can go away and come back with what it knew.
/// </summary>
public sealed partial class FakeNode : IAsyncDisposable
{
    private readonly Dictionary<string, FakeMachine> _machines = [];
    private readonly Dictionary<string, MachineStatus> _gone = [];
    private readonly List<NodeEvent> _outbox = [];
    private readonly Lock _lock = new();
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private WebApplication? _app;
    private ulong _sequence;

    public FakeNode(string socketPath) => SocketPath = socketPath;

    public string SocketPath { get; }

    public bool IsUp => _app is not null;

    public string NodeId { get; set; } = "node-1";

    /// <summary>Machines that may run at once.</summary>
    public int Slots { get; set; } = 1000;

    /// <summary>Every PutMachine that arrived, in order.</summary>
    /// <summary>A volume larger than this is refused.</summary>
    public const ulong VolumeRoomMib = 1024 * 1024;

    /// <summary>The volumes it was told to have, each as it was told last.</summary>
    public ConcurrentDictionary<string, PutVolumeRequest> Volumes { get; } = new();

    /// <summary>Volumes that a machine has, whatever the server believes.</summary>
    public HashSet<string> HeldVolumes { get; } = [];

    /// <summary>Volumes are neither made nor removed for now: the node does not answer.</summary>
    public bool IsMute { get; set; }

    public ConcurrentQueue<PutMachineRequest> Puts { get; } = new();

    /// <summary>Epochs with which it was taken back, each with what ran here then.</summary>
    public ConcurrentQueue<(ulong Epoch, IReadOnlyList<string> Running)> Admissions { get; } = new();

    /// <summary>Every sequence number that was acknowledged, in order.</summary>
    public ConcurrentQueue<ulong> Acknowledged { get; } = new();

    public ConcurrentQueue<SignalMachineRequest> Signals { get; } = new();

    public ConcurrentQueue<ReserveRequest> Reservations { get; } = new();

    /// <summary>Called for each command before it takes effect; throw to refuse.</summary>
    public Action<PutMachineRequest>? OnPut { get; set; }

    /// <summary>Whether machines start and stop by themselves when told to. Off: the test says when, with <see cref="Report"/>.</summary>
    public bool IsPrompt { get; set; } = true;

    /// <summary>What a command in a machine does.</summary>
    public Func<ExecStart, IAsyncStreamReader<ExecInput>, IServerStreamWriter<ExecOutput>, CancellationToken, Task>? OnExec { get; set; }

    public Func<PullImageRequest, IServerStreamWriter<PullImageProgress>, CancellationToken, Task>? OnPull { get; set; }

    public List<Image> Images { get; } = [];

    public List<Kernel> Kernels { get; } = [];

    public Func<IServerStreamWriter<BuildKernelProgress>, Task>? OnBuild { get; set; }

    /// <summary>Archives that were imported: name and bytes.</summary>
    /// <summary>How much shorter an exported archive is than it says.</summary>
    public int MissingExportBytes { get; set; }

    public ConcurrentQueue<(string Reference, byte[] Data)> Imported { get; } = new();

    public async Task StartAsync()
    {
        File.Delete(SocketPath);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
            kestrel.ListenUnixSocket(SocketPath, listen => listen.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(this);
        _app = builder.Build();
        _app.MapGrpcService<FakeNodeService>();
        await _app.StartAsync();
    }

    /// <summary>The node's process is gone; what it knew stays in its journal.</summary>
    public async Task StopAsync()
    {
        if (_app is null)
            return;
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
        _app = null;
    }

    public ValueTask DisposeAsync() => new(StopAsync());

    public Kernel AddKernel(string name, ulong bytes)
    {
        var kernel = new Kernel
        {
            Name = name,
            Digest = "sha256:" + new string((char)('a' + Kernels.Count), 64),
            Release = "6.1.0",
            Format = "elf",
            Origin = "added",
            Bytes = bytes,
            IsDefault = Kernels.Count == 0,
        };
        Kernels.Add(kernel);
        return kernel;
    }

    public Kernel FindKernel(string reference) =>
        Kernels.Find(kernel => kernel.Name == reference || kernel.Digest == reference)
        ?? throw Refusal("kernel-not-found", $"There is no kernel '{reference}' on this host.");

    public MachineStatus? StatusOf(string machineId)
    {
        lock (_lock)
            return _machines.GetValueOrDefault(machineId)?.Status.Clone();
    }

    /// <summary>Something happened to a machine: its status changes and an event goes to the outbox.</summary>
    public void Report(string machineId, string type, Action<MachineStatus> change)
    {
        lock (_lock)
        {
            var machine = _machines[machineId];
            change(machine.Status);
            Append(type, machine.Status);
        }
    }

    /// <summary>Puts events into the outbox as they are: for events a sane node would not send.</summary>
    public void Append(params ReadOnlySpan<NodeEvent> events)
    {
        lock (_lock)
        {
            foreach (var report in events)
            {
                _outbox.Add(report);
                _sequence = Math.Max(_sequence, report.Sequence);
            }
            Signal();
        }
    }

    public IReadOnlyList<NodeEvent> Outbox
    {
        get
        {
            lock (_lock)
                return _outbox.Select(e => e.Clone()).ToList();
        }
    }

    /// <summary>The workload of a machine ends by itself.</summary>
    public void Exit(string machineId, int code) => Report(machineId, "stop", s =>
    {
        s.State = MachineState.Stopped;
        s.Exit = new ExitStatus { Code = code, At = Google.Protobuf.WellKnownTypes.Timestamp.FromDateTimeOffset(DateTimeOffset.UnixEpoch) };
    });

    /// <summary>The workload of a machine prints a line.</summary>
    public void Print(string machineId, string stream, byte[] data)
    {
        lock (_lock)
        {
            var machine = _machines[machineId];
            machine.Lines.Add(new LogEntry
            {
                At = new Google.Protobuf.WellKnownTypes.Timestamp { Seconds = 1_700_000_000 + machine.Lines.Count, Nanos = 123_456_789 },
                Stream = stream,
                Data = Google.Protobuf.ByteString.CopyFrom(data),
                InstanceId = machine.Status.InstanceId,
            });
            Signal();
        }
    }

    /// <summary>Returns once something is true of this node.</summary>
    public async Task WaitForAsync(Func<FakeNode, bool> condition, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed;
            lock (_lock)
                changed = _changed.Task;
            if (condition(this))
                return;
            await changed.WaitAsync(cancellationToken);
        }
    }

    private void Append(string type, MachineStatus status)
    {
        _outbox.Add(new NodeEvent { Sequence = ++_sequence, Type = type, Status = status.Clone() });
        Signal();
    }

    private void Signal()
    {
        var changed = _changed;
        _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        changed.SetResult();
    }

    private sealed class FakeMachine
    {
        public required MachineStatus Status { get; init; }

        public List<LogEntry> Lines { get; } = [];

        public bool IsRunning => Status.State is MachineState.Starting or MachineState.Started or MachineState.Stopping;
    }
}
