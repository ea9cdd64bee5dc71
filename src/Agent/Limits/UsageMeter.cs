using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging;
using Ravel.Agent.Instances;
using Ravel.Agent.Machines;
using Ravel.Agent.Networking;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Node;
using Ravel.Vmm;

namespace Ravel.Agent.Limits;

/// <summary>Asks the host and the VMMs what machines have used. Nothing is kept: counters are the kernel's and the VMMs' own.</summary>
internal sealed class UsageMeter(InstanceServices services)
{
    /// <summary>VMMs asked at once.</summary>
    private const int MaxAtOnce = 16;

    private const long Mebibyte = 1 << 20;

    public async Task<IReadOnlyList<MachineUsage>> ReadAsync(IReadOnlyList<MachineActor> machines, CancellationToken cancellationToken)
    {
        var traffic = await ReadTrafficAsync(cancellationToken);
        var usage = new MachineUsage?[machines.Count];
        await Parallel.ForEachAsync(
            Enumerable.Range(0, machines.Count),
            new ParallelOptions { MaxDegreeOfParallelism = MaxAtOnce, CancellationToken = cancellationToken },
            async (i, token) => usage[i] = await ReadAsync(machines[i], traffic, token));
        return [.. usage.OfType<MachineUsage>()];
    }

    private async Task<MachineUsage?> ReadAsync(
        MachineActor actor, IReadOnlyDictionary<InstanceId, GuestTraffic> traffic, CancellationToken cancellationToken)
    {
        if (actor.Record is not { } machine)
            return null;
        var usage = new MachineUsage
        {
            MachineId = machine.Id.Value,
            DiskBytes = (ulong)services.Disks.UsedBytes(machine.Id),
            DiskLimitBytes = (ulong)((machine.Disk?.Mib ?? services.DiskMibOf(machine.Spec)) * Mebibyte),
            LogBytes = (ulong)services.Logs.BytesOf(machine.Id),
        };
        if (machine.Instance is not { } instance || actor.Vmm is not { } vmm || await MeasureAsync(vmm, cancellationToken) is not { } metrics)
            return usage;
        usage.InstanceId = instance.Id.ToString();
        usage.CpuTime = Duration.FromTimeSpan(metrics.CpuTime);
        usage.MemoryBytes = (ulong)Math.Max(0, metrics.ResidentBytes);
        usage.MemoryLimitBytes = instance.Spec.MemoryMib * Mebibyte;
        if (metrics.Disk is { } disk)
        {
            usage.Disk = new DiskCounters
            {
                ReadBytes = (ulong)disk.ReadBytes, WrittenBytes = (ulong)disk.WrittenBytes, Reads = (ulong)disk.Reads, Writes = (ulong)disk.Writes,
            };
        }
        if (traffic.TryGetValue(instance.Id, out var network))
        {
            usage.Network = new NetworkCounters
            {
                ReceivedBytes = (ulong)network.ReceivedBytes,
                ReceivedPackets = (ulong)network.ReceivedPackets,
                SentBytes = (ulong)network.SentBytes,
                SentPackets = (ulong)network.SentPackets,
            };
        }
        return usage;
    }

    /// <summary>Null when the VMM has just ended.</summary>
    private static async Task<VmmMetrics?> MeasureAsync(IVmm vmm, CancellationToken cancellationToken)
    {
        try
        {
            return await vmm.GetMetricsAsync(cancellationToken);
        }
        catch (Exception e) when (e is VmmException or ObjectDisposedException)
        {
            return null;
        }
    }

    /// <summary>Empty when the kernel does not say: the rest is worth having.</summary>
    private async Task<IReadOnlyDictionary<InstanceId, GuestTraffic>> ReadTrafficAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await services.Network.ReadTrafficAsync(cancellationToken);
        }
        catch (NetworkException e)
        {
            services.Logger.LogWarning("Usage is without network: {Reason}", e.Message);
            return new Dictionary<InstanceId, GuestTraffic>();
        }
    }
}
