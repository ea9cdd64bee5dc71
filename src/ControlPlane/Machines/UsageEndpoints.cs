using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Tokens;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Machines;

/// <summary>What machines have used, asked of their node when it is asked for: the server keeps none of it.</summary>
internal static class UsageEndpoints
{
    public static void MapUsage(this IEndpointRouteBuilder v1, IEndpointRouteBuilder machine)
    {
        v1.MapGet("/machines/usage", AllAsync).WithSummary("What the machines of a namespace have used (Ravel's addition).");
        machine.MapGet("/usage", OneAsync).WithSummary("What a machine has used: CPU, memory, disk, network (Ravel's addition).");
    }

    private static async Task<Ok<IReadOnlyList<MachineUsage>>> AllAsync(HttpContext http, MachineStore machines, NodeDirectory nodes, TimeProvider time)
    {
        var all = await machines.ListAsync(http.Tenant(), null, withDestroyed: false, http.RequestAborted);
        await nodes.AnyAsync(http.RequestAborted);
        // A node that is away has nothing to say, and does not keep the others from it.
        return TypedResults.Ok(await ReadAsync(all.FindAll(m => nodes.Find(m.Row.NodeId) is not null), nodes, time, http.RequestAborted));
    }

    private static async Task<Ok<MachineUsage>> OneAsync(
        string app, string id, HttpContext http, MachineStore machines, NodeDirectory nodes, TimeProvider time)
    {
        var machine = await machines.GetAsync(MachineEndpoints.Key(http, app, id), http.RequestAborted);
        var usage = await ReadAsync([machine], nodes, time, http.RequestAborted);
        return TypedResults.Ok(usage.Count == 1
            ? usage[0]
            : throw new ProblemException(ProblemCodes.IllegalState, $"Machine {machine.Row.Id} ({machine.Row.Name}) is not on its node now."));
    }

    /// <summary>Of those machines that their node knows.</summary>
    private static async Task<IReadOnlyList<MachineUsage>> ReadAsync(
        IReadOnlyList<StoredMachine> machines, NodeDirectory nodes, TimeProvider time, CancellationToken cancellationToken)
    {
        var usage = new List<MachineUsage>();
        foreach (var onNode in machines.GroupBy(machine => machine.Row.NodeId, StringComparer.Ordinal))
        {
            var byId = onNode.ToDictionary(machine => machine.Row.Id, StringComparer.Ordinal);
            var request = new Rpc.ReadUsageRequest();
            request.MachineIds.AddRange(byId.Keys);
            var node = nodes.Of(onNode.Key);
            var answer = await node.Client.ReadUsageAsync(request, node.Call(cancellationToken));
            var now = time.GetUtcNow();
            usage.AddRange(answer.Machines.Where(read => byId.ContainsKey(read.MachineId)).Select(read => Shown(byId[read.MachineId], read, now)));
        }
        return usage;
    }

    private static MachineUsage Shown(StoredMachine machine, Rpc.MachineUsage read, DateTimeOffset now)
    {
        var guest = machine.Row.ReadConfig().Guest;
        var runs = read.InstanceId.Length > 0;
        return new MachineUsage
        {
            Id = MachineId.Parse(machine.Row.Id),
            Name = machine.Row.Name,
            App = machine.App,
            InstanceId = runs ? read.InstanceId : null,
            At = now,
            Cpu = runs ? new CpuUsage(read.CpuTime?.ToTimeSpan().TotalSeconds ?? 0, guest?.CpuLimit ?? guest?.Cpus ?? 1) : null,
            Memory = runs ? new MemoryUsage((long)read.MemoryBytes, (long)read.MemoryLimitBytes) : null,
            DiskIo = read.Disk is { } disk
                ? new DiskCounters((long)disk.ReadBytes, (long)disk.WrittenBytes, (long)disk.Reads, (long)disk.Writes)
                : null,
            Network = read.Network is { } network
                ? new NetworkCounters((long)network.ReceivedBytes, (long)network.ReceivedPackets, (long)network.SentBytes, (long)network.SentPackets)
                : null,
            Disk = new StorageUsage((long)read.DiskBytes, (long)read.DiskLimitBytes),
            LogBytes = (long)read.LogBytes,
        };
    }
}
