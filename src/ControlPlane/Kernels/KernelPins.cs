using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Nodes;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Kernels;

/// <summary>
/// Turns the kernel a machine's configuration names into <c>NAME@DIGEST</c>, which is what is stored and shown: a name may come to
/// mean another kernel, and a machine is to boot the same one again.
/// </summary>
internal sealed class KernelPins(NodeDirectory nodes)
{
    /// <param name="config">What the machine shall be.</param>
    /// <param name="nodeId">The node it has to be on; null for any.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>The configuration, and the node that has the kernel: only there can the machine be.</returns>
    /// <exception cref="RpcException">The refusal of the node that was asked last, <c>kernel-not-found</c> above all.</exception>
    public async Task<(MachineConfig Config, string? NodeId)> PinAsync(MachineConfig config, string? nodeId, CancellationToken cancellationToken)
    {
        if (config.Guest?.Kernel is not { } reference)
            return (config, nodeId);
        await nodes.AnyAsync(cancellationToken);
        var asked = nodeId is null ? nodes.Reached : [nodes.Of(nodeId)];
        for (var i = 0; ; i++)
        {
            try
            {
                var kernel = await asked[i].Client.PinKernelAsync(new Rpc.PinKernelRequest { Reference = reference }, asked[i].Call(cancellationToken));
                return (config with { Guest = config.Guest with { Kernel = $"{kernel.Name}@{kernel.Digest}" } }, nodeId ?? asked[i].Info?.NodeId);
            }
            catch (RpcException) when (i + 1 < asked.Count && !cancellationToken.IsCancellationRequested)
            {
                // Perhaps the next one has it.
            }
        }
    }

    /// <summary>What the node is told; empty for the default.</summary>
    public static string DigestOf(string? pinned) => pinned is null ? "" : pinned[(pinned.IndexOf('@', StringComparison.Ordinal) + 1)..];
}
