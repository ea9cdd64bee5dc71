using Ravel.Contracts.Api;
using Ravel.ControlPlane.Nodes;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Kernels;

/// <summary>
/// Turns the kernel a machine's configuration names into <c>NAME@DIGEST</c>, which is what is stored and shown: a name may come to
/// mean another kernel, and a machine is to boot the same one again.
/// </summary>
internal sealed class KernelPins(NodeConnection node)
{
    /// <exception cref="Grpc.Core.RpcException">The node's refusal, <c>kernel-not-found</c> above all.</exception>
    public async Task<MachineConfig> PinAsync(MachineConfig config, CancellationToken cancellationToken)
    {
        if (config.Guest?.Kernel is not { } reference)
            return config;
        var kernel = await node.Client.PinKernelAsync(new Rpc.PinKernelRequest { Reference = reference }, node.Call(cancellationToken));
        return config with { Guest = config.Guest with { Kernel = $"{kernel.Name}@{kernel.Digest}" } };
    }

    /// <summary>What the node is told; empty for the default.</summary>
    public static string DigestOf(string? pinned) => pinned is null ? "" : pinned[(pinned.IndexOf('@', StringComparison.Ordinal) + 1)..];
}
