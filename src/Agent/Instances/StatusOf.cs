using Google.Protobuf.WellKnownTypes;
using Ravel.Contracts.Node;

namespace Ravel.Agent.Instances;

/// <summary>A machine as the server is told of it.</summary>
internal static class StatusOf
{
    public static MachineStatus Machine(MachineRecord machine)
    {
        var status = new MachineStatus
        {
            MachineId = machine.Id.Value,
            Generation = machine.Generation,
            ObservedGeneration = machine.ObservedGeneration,
            State = StateOf(machine),
            Restarts = machine.Restarts,
            ChangedAt = Timestamp.FromDateTimeOffset(machine.ChangedAt),
        };
        if (machine.Instance is not { } instance)
            return status;
        status.InstanceId = instance.Id.ToString();
        status.ImageDigest = instance.Facts.ImageDigest ?? "";
        status.Command.AddRange(instance.Facts.Command ?? []);
        status.AddressV4 = WithoutPrefix(instance.Facts.Network?.AddressV4);
        status.AddressV6 = WithoutPrefix(instance.Facts.Network?.AddressV6);
        if (instance.Exit is { } exit)
        {
            status.Exit = new ExitStatus
            {
                Code = exit.Code,
                Signal = exit.Signal,
                OomKilled = exit.IsOomKilled,
                Requested = exit.IsRequested,
                At = Timestamp.FromDateTimeOffset(exit.At),
            };
        }
        if (instance.Problem is { } problem)
            status.Problem = new Problem { Code = problem.Code, Message = problem.Message };
        return status;
    }

    /// <summary>What is left to say of a machine that was removed.</summary>
    public static MachineStatus Destroyed(MachineRecord machine)
    {
        var status = Machine(machine);
        status.State = MachineState.Destroyed;
        status.Moved = machine.IsMoved;
        status.ObservedGeneration = status.Generation;
        return status;
    }

    private static MachineState StateOf(MachineRecord machine)
    {
        if (machine.Desired == DesiredState.Destroyed)
            return MachineState.Destroying;
        if (machine.Instance is not { } instance)
            return MachineState.Created;
        return instance.State switch
        {
            InstanceState.Starting or InstanceState.Booting => instance.IsStopRequested ? MachineState.Stopping : MachineState.Starting,
            InstanceState.Waiting => MachineState.Starting,
            // Not over: it goes on when the node comes back.
            InstanceState.Suspending => MachineState.Suspending,
            InstanceState.Releasing when instance.Facts.Memory is not null && machine.Desired == DesiredState.Suspended => MachineState.Suspending,
            InstanceState.Suspended when instance.Problem is not null => MachineState.Failed,
            InstanceState.Suspended when machine.Desired == DesiredState.Started => MachineState.Starting,
            InstanceState.Suspended => MachineState.Suspended,
            InstanceState.Ended when instance.IsInterrupted && machine.Desired == DesiredState.Started => MachineState.Starting,
            InstanceState.Running => MachineState.Started,
            InstanceState.Ended => instance.Problem is null ? MachineState.Stopped : MachineState.Failed,
            _ => MachineState.Stopping,
        };
    }

    private static string WithoutPrefix(string? address) => address?.Split('/')[0] ?? "";
}
