using Microsoft.Extensions.Logging;
using Ravel.Agent.Disks;
using Ravel.Agent.Logs;
using Ravel.Agent.WarmStarts;
using Ravel.Contracts.Ids;
using Ravel.Images;
using Ravel.Vmm;

namespace Ravel.Agent.Instances;

/// <summary>What instances are made of.</summary>
internal sealed record InstanceServices(
    AgentOptions Options,
    IVmmDriver Driver,
    IImageStore Images,
    SharedNetwork Network,
    DiskStore Disks,
    VolumeStore Volumes,
    LogStore Logs,
    WarmStarter WarmStarts,
    TimeProvider Time,
    ILogger Logger)
{
    public string InstancesRunDirectory => Path.Combine(Options.RunDirectory, "vm");

    /// <summary>The VMM's own directory.</summary>
    public string RunDirectoryOf(InstanceId instance) => Path.Combine(InstancesRunDirectory, instance.ToString());

    /// <summary>Memory of suspended instances.</summary>
    public string MemoryDirectory => Path.Combine(Options.AgentDirectory, "memory");

    public string MemoryDirectoryOf(InstanceId instance) => Path.Combine(MemoryDirectory, instance.ToString());

    public long DiskMibOf(Contracts.Node.MachineSpec spec) => spec.DiskMib == 0 ? Options.DefaultDiskMib : (long)spec.DiskMib;
}
