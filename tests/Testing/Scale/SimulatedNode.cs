using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Ravel.Agent.Capacity;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;

namespace Ravel.Testing.Scale;

/// <summary>
/// A node as a server sees it, small enough for thousands in one process: the agent's own ledger decides what fits, machines are records that
/// run as soon as they are told to, and an outbox tells of it in order. Nothing of it is on a disk.
/// </summary>
internal sealed class SimulatedNode(string id, NodeShare room)
{
    private readonly Lock _lock = new();
    private readonly CapacityLedger _ledger = new(room);
    private readonly Dictionary<string, MachineStatus> _machines = new(StringComparer.Ordinal);
    private readonly Queue<NodeEvent> _outbox = new();
    private TaskCompletionSource _changed = NewSignal();
    private ulong _sequence;

    public string Id { get; } = id;

    public string Region { get; init; } = "";

    public string Zone { get; init; } = "";

    public Dictionary<string, string> Labels { get; init; } = [];

    public List<string> Images { get; init; } = [];

    public string Vmm { get; init; } = "fake";

    /// <summary>Asked before the ledger is: throw to refuse.</summary>
    public Action<ReserveRequest>? OnReserve { get; set; }

    /// <summary>Why machines cannot start here; null: they can.</summary>
    public Problem? StartProblem { get; set; }

    /// <summary>How many machines run.</summary>
    public int Running
    {
        get
        {
            lock (_lock)
                return _machines.Values.Count(machine => machine.State == MachineState.Started);
        }
    }

    /// <summary>What is held for machines and for those that are on their way.</summary>
    public NodeShare Allocated => _ledger.Allocated(TimeProvider.System.GetUtcNow());

    public IReadOnlyCollection<string> Machines
    {
        get
        {
            lock (_lock)
                return [.. _machines.Keys];
        }
    }

    public NodeInfo Info(string imagesRevision)
    {
        var info = new NodeInfo
        {
            NodeId = Id,
            Version = "0.0.0",
            Vmm = Vmm,
            VmmVersion = "1.0",
            Accelerator = "none",
            Architecture = "amd64",
            Capacity = Resources(_ledger.Total),
            Allocated = Resources(Allocated),
            Region = Region,
            Zone = Zone,
            ImagesRevision = $"{Images.Count}",
        };
        info.Labels.Add(Labels);
        if (info.ImagesRevision != imagesRevision)
            info.Images.AddRange(Images);
        return info;
    }

    public Reservation Reserve(ReserveRequest request)
    {
        OnReserve?.Invoke(request);
        var now = TimeProvider.System.GetUtcNow();
        var machine = MachineId.Parse(request.MachineId);
        var reservation = new CapacityReservation(
            InstanceId.New(now).ToString(), machine, request.Generation, Share(request.Resources), now + request.Ttl.ToTimeSpan());
        var replaced = _ledger.Find(r => r.Machine == machine || r.ExpiresAt <= now);
        if (!_ledger.TryReserve(reservation, now, out var shortage))
            throw Refusal(shortage);
        _ledger.Release(replaced);
        return new Reservation { ReservationId = reservation.Id, ExpiresAt = Timestamp.FromDateTimeOffset(reservation.ExpiresAt) };
    }

    public void Release(string machineId) => _ledger.Release(_ledger.Find(r => r.Machine.Value == machineId));

    public MachineStatus Put(PutMachineRequest request)
    {
        lock (_lock)
        {
            var id = MachineId.Parse(request.MachineId);
            var known = _machines.GetValueOrDefault(request.MachineId);
            if (known is not null && request.Generation <= known.Generation)
                return known.Clone();
            if (request.Desired == DesiredState.Destroyed)
                return Destroy(request, known);
            if (request.Desired == DesiredState.Started && !_ledger.TryHold(id, Share(request.Spec), request.ReservationId, TimeProvider.System.GetUtcNow(), out var shortage))
                throw Refusal(shortage);
            _ledger.Release(_ledger.Find(r => r.Machine == id));
            if (known is null)
                _machines.Add(request.MachineId, known = new MachineStatus { MachineId = request.MachineId, State = MachineState.Created });
            (known.Generation, known.ObservedGeneration) = (request.Generation, request.Generation);
            if (request.Desired == DesiredState.Started)
                Start(known);
            else
                Rest(known, MachineState.Stopped, "stop");
            return known.Clone();
        }
    }

    public ListMachinesResponse List()
    {
        lock (_lock)
            return new ListMachinesResponse { Machines = { _machines.Values.Select(machine => machine.Clone()) } };
    }

    public async Task WatchAsync(ulong acknowledged, IServerStreamWriter<NodeEvent> stream, CancellationToken cancellationToken)
    {
        var told = acknowledged;
        while (true)
        {
            List<NodeEvent> events;
            Task changed;
            lock (_lock)
            {
                changed = _changed.Task;
                while (_outbox.TryPeek(out var first) && first.Sequence <= acknowledged)
                    _outbox.Dequeue();
                events = [.. _outbox.Where(report => report.Sequence > told)];
            }
            foreach (var report in events)
            {
                await stream.WriteAsync(report, cancellationToken);
                told = report.Sequence;
            }
            if (events.Count == 0)
                await changed.WaitAsync(cancellationToken);
        }
    }

    private void Start(MachineStatus machine)
    {
        machine.InstanceId = InstanceId.New(TimeProvider.System.GetUtcNow()).ToString();
        if (StartProblem is { } problem)
        {
            machine.Problem = problem;
            _ledger.Remove(MachineId.Parse(machine.MachineId));
            Rest(machine, MachineState.Failed, "fail");
            return;
        }
        machine.Problem = null;
        machine.State = MachineState.Starting;
        Append("launch", machine);
        machine.State = MachineState.Started;
        Append("start", machine);
    }

    private void Rest(MachineStatus machine, MachineState state, string type)
    {
        machine.State = state;
        _ledger.Remove(MachineId.Parse(machine.MachineId));
        Append(type, machine);
    }

    private MachineStatus Destroy(PutMachineRequest request, MachineStatus? known)
    {
        var status = known ?? new MachineStatus { MachineId = request.MachineId };
        (status.Generation, status.ObservedGeneration, status.State) = (request.Generation, request.Generation, MachineState.Destroyed);
        _ledger.Remove(MachineId.Parse(request.MachineId));
        _ledger.Release(_ledger.Find(r => r.Machine.Value == request.MachineId));
        if (_machines.Remove(request.MachineId))
            Append("destroy", status);
        return status;
    }

    private void Append(string type, MachineStatus machine)
    {
        _outbox.Enqueue(new NodeEvent { Sequence = ++_sequence, Type = type, Status = machine.Clone() });
        var changed = _changed;
        _changed = NewSignal();
        changed.SetResult();
    }

    private static NodeShare Share(Resources resources) => new((int)resources.Cpus, (long)resources.MemoryMib, (long)resources.DiskMib, 1);

    private static NodeShare Share(MachineSpec spec) => new((int)spec.Cpus, (long)spec.MemoryMib, (long)spec.DiskMib, 1);

    private static Resources Resources(NodeShare share) => new()
    {
        Cpus = (uint)Math.Max(0, share.Cpus),
        MemoryMib = (ulong)Math.Max(0, share.MemoryMib),
        DiskMib = (ulong)Math.Max(0, share.DiskMib),
        Machines = (uint)Math.Max(0, share.Machines),
    };

    private static RpcException Refusal(string shortage) => new(
        new Status(StatusCode.FailedPrecondition, $"The machine does not fit on this node: {shortage}."),
        new Metadata { { NodeTrailers.ProblemCode, "insufficient-capacity" } });

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
