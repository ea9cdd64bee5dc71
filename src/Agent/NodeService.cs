using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Ravel.Agent.Capacity;
using Ravel.Agent.Guests;
using Ravel.Agent.Instances;
using Ravel.Agent.Machines;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using MachineStatus = Ravel.Contracts.Node.MachineStatus;
using Node = Ravel.Contracts.Node.Node;

namespace Ravel.Agent;

/// <summary>
/// The agent's gRPC service (node.proto). An expected refusal is an <see cref="RpcException"/> with its sentence as the status detail
/// and its code in the trailer <see cref="NodeTrailers.ProblemCode"/>.
/// </summary>
internal sealed partial class NodeService : Node.NodeBase
{
    private static readonly TimeSpan LongestReservation = TimeSpan.FromHours(1);

    private readonly NodeAgent _agent;

    public NodeService(NodeAgent agent) => _agent = agent;

    public override Task<NodeInfo> GetNode(GetNodeRequest request, ServerCallContext context) =>
        NodeProblems.MapAsync(() => Task.FromResult(WithMoment(request, NodeDescription.Of(_agent))));

    public override Task<Reservation> Reserve(ReserveRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        var machine = ParseMachine(request.MachineId);
        if (request.Resources is not { } resources)
            throw SpecRules.Invalid("resources is missing");
        SpecRules.Range("resources.cpus", resources.Cpus, 0, 4096);
        SpecRules.Range("resources.memory_mib", resources.MemoryMib, 0, 1UL << 30);
        SpecRules.Range("resources.disk_mib", resources.DiskMib, 0, 1UL << 40);
        var ttl = request.Ttl?.ToTimeSpan() ?? TimeSpan.Zero;
        if (ttl <= TimeSpan.Zero || ttl > LongestReservation)
            throw SpecRules.Invalid($"ttl must be more than 0 and at most {LongestReservation.TotalSeconds:0} s");
        var reservation = await _agent.Machines.ReserveAsync(
            machine,
            request.Generation,
            new NodeShare(
                (int)resources.Cpus,
                (long)resources.MemoryMib,
                (resources.DiskMib == 0 ? _agent.Options.DefaultDiskMib : (long)resources.DiskMib) + _agent.Options.BesidesDiskMib,
                1),
            ttl);
        return new Reservation { ReservationId = reservation.Id, ExpiresAt = Timestamp.FromDateTimeOffset(reservation.ExpiresAt) };
    });

    public override Task<MachineStatus> PutMachine(PutMachineRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        var machine = ParseMachine(request.MachineId);
        if (request.Generation is 0 or > long.MaxValue)
            throw SpecRules.Invalid("generation must be at least 1");
        if (request.Desired == DesiredState.Unspecified || !System.Enum.IsDefined(request.Desired))
            throw SpecRules.Invalid("desired is unknown");
        if (request.Desired != DesiredState.Destroyed)
            SpecRules.Check(request.Spec);
        // Until the machine is in the journal, nothing else says that the kernel is wanted.
        using var kernel = request.Desired != DesiredState.Destroyed && request.Spec.Kernel.Length > 0
            ? await _agent.Options.Kernels.LeaseAsync(request.Spec.Kernel, context.CancellationToken)
            : null;
        var put = new InstanceEvent.Put(machine, request.Generation, request.Desired, Normalize(request.Spec), request.Force) { IsMoved = request.Moved };
        return await _agent.Machines.PutAsync(put, request.ReservationId.Length == 0 ? null : request.ReservationId);
    });

    public override Task<AdmitResponse> Admit(AdmitRequest request, ServerCallContext context) => NodeProblems.MapAsync(() =>
    {
        _agent.Machines.Admit();
        return Task.FromResult(new AdmitResponse());
    });

    public override Task<ListMachinesResponse> ListMachines(ListMachinesRequest request, ServerCallContext context) => NodeProblems.MapAsync(() =>
    {
        var response = new ListMachinesResponse();
        if (request.MachineId.Length == 0)
            response.Machines.AddRange(_agent.Machines.Records.Select(StatusOf.Machine));
        else if (_agent.Machines.StatusOf(ParseMachine(request.MachineId)) is { } status)
            response.Machines.Add(status);
        return Task.FromResult(response);
    });

    public override Task<SignalMachineResponse> SignalMachine(SignalMachineRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        SpecRules.Range("signal", request.Signal < 0 ? 0 : (ulong)request.Signal, 1, SignalNames.Highest);
        await GuestCalls.SignalAsync(FindMachine(request.MachineId), request.Signal, _agent.Time, context.CancellationToken);
        return new SignalMachineResponse();
    });

    public override Task WatchEvents(WatchEventsRequest request, IServerStreamWriter<NodeEvent> responseStream, ServerCallContext context) =>
        NodeProblems.MapAsync(async () =>
        {
            if (request.Acknowledged > long.MaxValue)
                throw SpecRules.Invalid("acknowledged is not a sequence number");
            await foreach (var entry in _agent.Machines.Outbox.WatchAsync(request.Acknowledged, context.CancellationToken))
                await responseStream.WriteAsync(entry.Event, context.CancellationToken);
        });

    public override Task<StopAllResponse> StopAll(StopAllRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        var limit = request.Timeout?.ToTimeSpan() ?? _agent.Options.Instances.DefaultStopTimeout;
        if (limit < TimeSpan.Zero || limit > TimeSpan.FromHours(1))
            throw SpecRules.Invalid("timeout must be 0 to 3600 s");
        return new StopAllResponse { Stopped = (uint)await _agent.Machines.StopAllAsync(limit, context.CancellationToken) };
    });

    private static MachineId ParseMachine(string text) =>
        MachineId.TryParse(text, out var machine) ? machine : throw SpecRules.Invalid("machine_id is not a machine id (14 hexadecimal digits)");

    /// <summary>Spelled out where it leaves something to the node, so that what is promised can be seen in it.</summary>
    private MachineSpec Normalize(MachineSpec? spec)
    {
        var normalized = spec?.Clone() ?? new MachineSpec();
        if (normalized.DiskMib == 0)
            normalized.DiskMib = (ulong)_agent.Options.DefaultDiskMib;
        return normalized;
    }

    private MachineActor FindMachine(string text)
    {
        var machine = ParseMachine(text);
        return _agent.Machines.Find(machine)
            ?? throw new InstanceException(ProblemCodes.MachineNotFound, $"Machine {machine} is not on this node.");
    }
}
