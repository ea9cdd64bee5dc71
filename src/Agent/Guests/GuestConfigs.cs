using System.Security.Cryptography;
using Ravel.Agent.Networking;
using Ravel.Contracts.Ids;
using Ravel.Contracts.Link;
using Ravel.Contracts.Node;
using Ravel.Images;

namespace Ravel.Agent.Guests;

/// <summary>What a guest is told to be.</summary>
internal static class GuestConfigs
{
    /// <summary>The guest's block devices, in the order of the VMM's drives.</summary>
    private static readonly RootConfig Root = new("/dev/vda", "/dev/vdb");

    /// <exception cref="InstanceException">The image and the machine together do not say what to run.</exception>
    public static GuestConfig For(MachineId machine, MachineSpec spec, ImageConfig image, InstanceNetwork network, TimeProvider time) => new()
    {
        Hostname = spec.Hostname.Length > 0 ? spec.Hostname : machine.Value,
        Root = Root,
        Workload = WorkloadPlan.Process(spec, image),
        HasStdin = spec.Stdin,
        Volumes = spec.Mounts.Count == 0
            ? null
            : [.. spec.Mounts.Select((mount, i) => new VolumeConfig($"/dev/vd{(char)('c' + i)}", mount.Path, mount.ReadOnly))],
        Network = new NetworkConfig
        {
            Mac = network.Mac,
            Addresses = [network.AddressV4, network.AddressV6],
            Gateways = [network.GatewayV4, network.GatewayV6],
            Mtu = network.Mtu,
            Nameservers = network.Nameservers,
        },
        Entropy = Convert.ToBase64String(RandomNumberGenerator.GetBytes(64)),
        UnixNanoseconds = Logs.UnixTime.Nanoseconds(time),
    };
}
