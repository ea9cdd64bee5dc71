using Ravel.Agent.Capacity;
using Ravel.Contracts.Node;

namespace Ravel.Agent;

/// <summary>What a node says of itself.</summary>
internal static class NodeDescription
{
    public static NodeInfo Of(NodeAgent agent)
    {
        var info = new NodeInfo
        {
            NodeId = agent.NodeId,
            Version = typeof(NodeDescription).Assembly.GetName().Version?.ToString(3) ?? "",
            Vmm = agent.Driver.Name,
            VmmVersion = agent.Probe.Version,
            Accelerator = agent.Probe.Accelerator,
            Architecture = System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture switch
            {
                System.Runtime.InteropServices.Architecture.X64 => "amd64",
                System.Runtime.InteropServices.Architecture.Arm64 => "arm64",
                var other => other.ToString().ToLowerInvariant(),
            },
            Capacity = ToResources(agent.Machines.Ledger.Total),
            Allocated = ToResources(agent.Machines.Ledger.Allocated(agent.Time.GetUtcNow())),
            Region = agent.Options.Region,
            Zone = agent.Options.Zone,
        };
        info.Labels.Add(agent.Options.Labels.ToDictionary());
        return info;
    }

    private static Resources ToResources(NodeShare share) => new()
    {
        Cpus = (uint)Math.Max(0, share.Cpus),
        MemoryMib = (ulong)Math.Max(0, share.MemoryMib),
        DiskMib = (ulong)Math.Max(0, share.DiskMib),
        Machines = (uint)Math.Max(0, share.Machines),
    };
}
