using Grpc.Core;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;

namespace Ravel.Testing.ControlPlane;

public sealed partial class FakeNode
{
    internal MachineStatus Put(PutMachineRequest request)
    {
        Puts.Enqueue(request.Clone());
        try
        {
            OnPut?.Invoke(request);
        }
        finally
        {
            lock (_lock)
                Signal();
        }
        lock (_lock)
        {
            if (!_machines.TryGetValue(request.MachineId, out var machine))
            {
                if (_gone.TryGetValue(request.MachineId, out var gone) && request.Generation <= gone.Generation)
                    return gone.Clone();
                if (request.Desired == DesiredState.Destroyed)
                    return Forget(request);
                if (gone is { Moved: false })
                    throw Refusal("illegal-state", $"Machine {request.MachineId} was destroyed; create another one.");
                _gone.Remove(request.MachineId);
                machine = new FakeMachine { Status = new MachineStatus { MachineId = request.MachineId, State = MachineState.Created } };
                _machines.Add(request.MachineId, machine);
            }
            var status = machine.Status;
            if (request.Generation <= status.Generation)
                return status.Clone();
            status.Generation = request.Generation;
            if (IsPrompt)
                Obey(request, machine);
            return status.Clone();
        }
    }

    internal Reservation Reserve(ReserveRequest request)
    {
        Reservations.Enqueue(request.Clone());
        lock (_lock)
        {
            var running = _machines.Values.Count(m => m.IsRunning && m.Status.MachineId != request.MachineId);
            if (running >= Slots)
                throw Refusal("insufficient-capacity", $"The node has room for {Slots} machines and runs {running}.");
        }
        return new Reservation { ReservationId = $"r-{request.MachineId}-{request.Generation}" };
    }

    /// <summary>A refusal as agents word it: the code in a trailer, the sentence in the detail.</summary>
    public static RpcException Refusal(string code, string message) =>
        new(new Status(StatusCode.FailedPrecondition, message), new Metadata { { Contracts.Node.NodeTrailers.ProblemCode, code } });

    internal async Task WatchAsync(ulong acknowledged, IServerStreamWriter<NodeEvent> stream, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            Acknowledged.Enqueue(acknowledged);
            Signal();
        }
        var next = 0;
        while (true)
        {
            List<NodeEvent> events;
            Task changed;
            lock (_lock)
            {
                changed = _changed.Task;
                events = _outbox.Skip(next).ToList();
                next = _outbox.Count;
            }
            // Those at or below what was acknowledged too: a node that delivers twice must do no harm.
            foreach (var report in events)
                await stream.WriteAsync(report, cancellationToken);
            if (events.Count == 0)
                await changed.WaitAsync(cancellationToken);
        }
    }

    internal async Task ReadLogsAsync(ReadLogsRequest request, IServerStreamWriter<LogEntry> stream, CancellationToken cancellationToken)
    {
        var next = 0;
        var isFirst = true;
        while (true)
        {
            List<LogEntry> lines;
            bool isOver;
            Task changed;
            lock (_lock)
            {
                if (!_machines.TryGetValue(request.MachineId, out var machine))
                    throw new RpcException(new Status(StatusCode.NotFound, $"Machine {request.MachineId} is not here."));
                changed = _changed.Task;
                lines = machine.Lines.Skip(next).ToList();
                next = machine.Lines.Count;
                isOver = !request.Follow || !machine.IsRunning;
            }
            if (request.Since is { } since)
                lines.RemoveAll(l => l.At.ToDateTimeOffset() < since.ToDateTimeOffset());
            if (isFirst && request.HasTail)
                lines = lines.TakeLast((int)request.Tail).ToList();
            isFirst = false;
            foreach (var line in lines)
                await stream.WriteAsync(line, cancellationToken);
            if (isOver)
                return;
            await changed.WaitAsync(cancellationToken);
        }
    }

    internal NodeInfo Info()
    {
        lock (_lock)
        {
            return new NodeInfo
            {
                NodeId = NodeId,
                Version = "1.2.3",
                Vmm = "fake",
                VmmVersion = "1.0",
                Accelerator = "none",
                Architecture = "amd64",
                Capacity = new Resources { Cpus = 8, MemoryMib = 8192, DiskMib = 10240, Machines = (uint)Slots },
                Allocated = new Resources { Machines = (uint)_machines.Values.Count(m => m.IsRunning) },
            };
        }
    }

    internal MachineStatus Forget(PutMachineRequest request) => _gone[request.MachineId] = new MachineStatus
    {
        MachineId = request.MachineId,
        Generation = request.Generation,
        ObservedGeneration = request.Generation,
        State = MachineState.Destroyed,
        Moved = request.Moved,
    };

    /// <summary>A machine that the server never spoke of.</summary>
    public void Plant(string machineId, ulong generation)
    {
        lock (_lock)
        {
            _machines[machineId] = new FakeMachine
            {
                Status = new MachineStatus { MachineId = machineId, Generation = generation, ObservedGeneration = generation, State = MachineState.Started },
            };
        }
    }

    /// <summary>The node knows nothing of a machine any more.</summary>
    public void Lose(string machineId)
    {
        lock (_lock)
            _machines.Remove(machineId);
    }

    /// <summary>Machines that run here.</summary>
    public IReadOnlyList<string> Running
    {
        get
        {
            lock (_lock)
                return [.. _machines.Values.Where(m => m.IsRunning).Select(m => m.Status.MachineId).Order(StringComparer.Ordinal)];
        }
    }

    /// <summary>Machines that are here, running or not.</summary>
    public IReadOnlyList<string> Known
    {
        get
        {
            lock (_lock)
                return [.. _machines.Keys.Order(StringComparer.Ordinal)];
        }
    }

    internal ListMachinesResponse List()
    {
        lock (_lock)
            return new ListMachinesResponse { Machines = { _machines.Values.Select(m => m.Status.Clone()) } };
    }

    private void Obey(PutMachineRequest request, FakeMachine machine)
    {
        var status = machine.Status;
        status.ObservedGeneration = request.Generation;
        switch (request.Desired)
        {
            case DesiredState.Started:
                status.InstanceId = InstanceId.New(DateTimeOffset.UnixEpoch).ToString();
                status.AddressV6 = "fd00::2";
                status.AddressV4 = "100.64.0.2";
                status.ImageDigest = "sha256:" + new string('a', 64);
                status.Exit = null;
                status.Problem = null;
                status.State = MachineState.Starting;
                Append("launch", status);
                status.State = MachineState.Started;
                Append("start", status);
                break;
            case DesiredState.Stopped:
                if (machine.IsRunning)
                    status.Exit = new ExitStatus { Code = 143, Signal = 15, Requested = true };
                status.State = status.InstanceId.Length == 0 ? MachineState.Created : MachineState.Stopped;
                Append("stop", status);
                break;
            case DesiredState.Suspended when machine.IsRunning:
                status.State = MachineState.Suspending;
                Append("suspending", status);
                status.State = MachineState.Suspended;
                Append("suspend", status);
                break;
            case DesiredState.Suspended:
                break;
            default:
                _machines.Remove(request.MachineId);
                Forget(request);
                status.Moved = request.Moved;
                status.State = MachineState.Destroyed;
                Append("destroy", status);
                break;
        }
    }
}
