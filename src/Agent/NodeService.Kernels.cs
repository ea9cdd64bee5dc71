using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Ravel.Agent.Guests;
using Ravel.Agent.Instances;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.Vmm.Kernels;
using Kernel = Ravel.Contracts.Node.Kernel;
using SetDefaultKernelRequest = Ravel.Contracts.Node.SetDefaultKernelRequest;

namespace Ravel.Agent;

internal sealed partial class NodeService
{
    public override Task<ListKernelsResponse> ListKernels(ListKernelsRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        var response = new ListKernelsResponse();
        response.Kernels.AddRange((await _agent.Options.Kernels.ListAsync(context.CancellationToken)).Select(ToKernel));
        return response;
    });

    public override Task<Kernel> PinKernel(PinKernelRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        CheckReference(request.Reference);
        return ToKernel(await _agent.Options.Kernels.PinAsync(request.Reference, context.CancellationToken));
    });

    public override Task<Kernel> AddKernel(IAsyncStreamReader<AddKernelChunk> requestStream, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        if (!await requestStream.MoveNext(context.CancellationToken))
            throw Machines.SpecRules.Invalid("there is no kernel in this call");
        var name = requestStream.Current.Name;
        var content = DataOf(requestStream, _agent.Options.MaxKernelBytes, context.CancellationToken);
        return ToKernel(await _agent.Options.Kernels.AddAsync(content, name.Length == 0 ? null : name, context.CancellationToken));
    });

    public override Task BuildKernel(BuildKernelRequest request, IServerStreamWriter<BuildKernelProgress> responseStream, ServerCallContext context) =>
        NodeProblems.MapAsync(async () =>
        {
            // A slow reader misses steps of the progress, never its end.
            var steps = Channel.CreateBounded<KernelBuildProgress>(new BoundedChannelOptions(16) { FullMode = BoundedChannelFullMode.DropOldest });
            var build = BuildAsync();
            await foreach (var step in steps.Reader.ReadAllAsync(CancellationToken.None))
            {
                if (!context.CancellationToken.IsCancellationRequested)
                    await responseStream.WriteAsync(ToProgress(step), context.CancellationToken);
            }
            await responseStream.WriteAsync(new BuildKernelProgress { Kernel = ToKernel(await build) }, context.CancellationToken);

            async Task<InstalledKernel> BuildAsync()
            {
                try
                {
                    return await _agent.Options.Kernels.BuildAsync(new BuildStepWriter(steps.Writer), context.CancellationToken);
                }
                finally
                {
                    steps.Writer.Complete();
                }
            }
        });

    public override Task<Kernel> RemoveKernel(RemoveKernelRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        CheckReference(request.Reference);
        return ToKernel(await _agent.Options.Kernels.RemoveAsync(
            request.Reference, () => KernelUse.Digests(_agent.Machines.Records).ToHashSet(StringComparer.Ordinal), context.CancellationToken));
    });

    public override Task<Kernel> SetDefaultKernel(SetDefaultKernelRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        CheckReference(request.Reference);
        return ToKernel(await _agent.Options.Kernels.SetDefaultAsync(request.Reference, context.CancellationToken));
    });

    private static BuildKernelProgress ToProgress(KernelBuildProgress step) => new()
    {
        Step = new BuildKernelStep { Phase = step.Phase, Done = (uint)step.Done, Total = (uint)(step.Total ?? 0) },
    };

    private Kernel ToKernel(InstalledKernel kernel) => new()
    {
        Digest = kernel.Digest,
        Name = kernel.Name,
        Release = kernel.Release,
        Format = kernel.Format.ToString().ToLowerInvariant(),
        Bytes = (ulong)kernel.Bytes,
        Modules = (uint)kernel.Modules,
        Origin = kernel.Origin.ToString().ToLowerInvariant(),
        CreatedAt = Timestamp.FromDateTimeOffset(kernel.CreatedAt),
        IsDefault = kernel.IsDefault,
        Machines = (uint)KernelUse.Digests(_agent.Machines.Records).Count(digest => digest == kernel.Digest),
    };

    /// <summary>Unlike <see cref="Progress{T}"/> it keeps the order.</summary>
    private sealed class BuildStepWriter(ChannelWriter<KernelBuildProgress> writer) : IProgress<KernelBuildProgress>
    {
        public void Report(KernelBuildProgress value) => writer.TryWrite(value);
    }

    /// <summary>The data of a call's chunks, from the present one on.</summary>
    private static async IAsyncEnumerable<ReadOnlyMemory<byte>> DataOf(
        IAsyncStreamReader<AddKernelChunk> chunks, long limit, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var total = 0L;
        do
        {
            total += chunks.Current.Data.Length;
            if (total > limit)
                throw new InstanceException(ProblemCodes.PayloadTooLarge, $"The kernel is larger than the {limit} bytes this node takes.");
            yield return chunks.Current.Data.Memory;
        }
        while (await chunks.MoveNext(cancellationToken));
    }
}
