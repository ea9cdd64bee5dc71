using Grpc.Core;
using Ravel.Contracts.Node;

namespace Ravel.Testing.ControlPlane;

/// <summary>The wire side of <see cref="FakeNode"/>.</summary>
internal sealed class FakeNodeService(FakeNode node) : Node.NodeBase
{
    public override Task<NodeInfo> GetNode(GetNodeRequest request, ServerCallContext context) => Task.FromResult(node.Info());

    public override Task<Reservation> Reserve(ReserveRequest request, ServerCallContext context) => Task.FromResult(node.Reserve(request));

    public override Task<MachineStatus> PutMachine(PutMachineRequest request, ServerCallContext context) => Task.FromResult(node.Put(request));

    public override Task<AdmitResponse> Admit(AdmitRequest request, ServerCallContext context)
    {
        node.Admissions.Enqueue((request.Epoch, node.Running));
        return Task.FromResult(new AdmitResponse());
    }

    public override Task<ListMachinesResponse> ListMachines(ListMachinesRequest request, ServerCallContext context) => Task.FromResult(node.List());

    public override Task<VolumeStatus> PutVolume(PutVolumeRequest request, ServerCallContext context)
    {
        if (node.IsMute)
            throw new RpcException(new Status(StatusCode.Unavailable, "The node is away."));
        if (request.SizeMib > FakeNode.VolumeRoomMib)
            throw FakeNode.Refusal("insufficient-capacity", "The node has no room for this volume.");
        node.Volumes[request.VolumeId] = request.Clone();
        return Task.FromResult(new VolumeStatus { VolumeId = request.VolumeId, SizeMib = request.SizeMib });
    }

    public override Task<RemoveVolumeResponse> RemoveVolume(RemoveVolumeRequest request, ServerCallContext context)
    {
        if (node.HeldVolumes.Contains(request.VolumeId))
            throw FakeNode.Refusal("volume-in-use", $"Volume {request.VolumeId} is in use by a machine that is on its way out.");
        node.Volumes.TryRemove(request.VolumeId, out _);
        return Task.FromResult(new RemoveVolumeResponse());
    }

    /// <summary>A machine that it knows has used a second of CPU time, and nothing else is known.</summary>
    public override Task<ReadUsageResponse> ReadUsage(ReadUsageRequest request, ServerCallContext context)
    {
        var response = new ReadUsageResponse();
        response.Machines.AddRange(request.MachineIds.Where(id => node.Puts.Any(put => put.MachineId == id)).Select(id => new MachineUsage
        {
            MachineId = id,
            InstanceId = "one",
            CpuTime = Google.Protobuf.WellKnownTypes.Duration.FromTimeSpan(TimeSpan.FromSeconds(1)),
            DiskLimitBytes = 7,
        }));
        return Task.FromResult(response);
    }

    public override Task<SignalMachineResponse> SignalMachine(SignalMachineRequest request, ServerCallContext context)
    {
        node.Signals.Enqueue(request.Clone());
        return Task.FromResult(new SignalMachineResponse());
    }

    public override async Task WatchEvents(WatchEventsRequest request, IServerStreamWriter<NodeEvent> responseStream, ServerCallContext context)
    {
        try
        {
            await node.WatchAsync(request.Acknowledged, responseStream, context.CancellationToken);
        }
        catch (OperationCanceledException)
        {
            // The caller is gone.
        }
    }

    public override async Task Exec(
        IAsyncStreamReader<ExecInput> requestStream, IServerStreamWriter<ExecOutput> responseStream, ServerCallContext context)
    {
        if (!await requestStream.MoveNext() || requestStream.Current.Start is not { } start || node.OnExec is null)
            throw new RpcException(new Status(StatusCode.InvalidArgument, "The first input must be start."));
        await node.OnExec(start, requestStream, responseStream, context.CancellationToken);
    }

    public override Task ReadLogs(ReadLogsRequest request, IServerStreamWriter<LogEntry> responseStream, ServerCallContext context) =>
        node.ReadLogsAsync(request, responseStream, context.CancellationToken);

    public override Task PullImage(PullImageRequest request, IServerStreamWriter<PullImageProgress> responseStream, ServerCallContext context) =>
        node.OnPull?.Invoke(request, responseStream, context.CancellationToken) ?? Task.CompletedTask;

    public override async Task<Image> ImportImage(IAsyncStreamReader<ImportImageChunk> requestStream, ServerCallContext context)
    {
        var reference = "";
        var choice = "";
        using var data = new MemoryStream();
        await foreach (var chunk in requestStream.ReadAllAsync())
        {
            if (chunk.Reference.Length > 0)
                reference = chunk.Reference;
            if (chunk.Choice.Length > 0)
                choice = chunk.Choice;
            data.Write(chunk.Data.Span);
        }
        if (data.Length == 0)
            throw FakeNode.Refusal("image-invalid", "The archive is empty.");
        node.Imported.Enqueue((reference, data.ToArray()));
        return new Image { ManifestDigest = "sha256:" + new string('b', 64), References = { choice.Length > 0 ? choice : reference }, RootfsBytes = (ulong)data.Length };
    }

    public override async Task ExportImage(ExportImageRequest request, IServerStreamWriter<ExportImageChunk> responseStream, ServerCallContext context)
    {
        if (!node.Images.Any(image => image.References.Contains(request.Reference)))
            throw FakeNode.Refusal("image-not-found", $"There is no image '{request.Reference}'.");
        var archive = System.Text.Encoding.UTF8.GetBytes($"{request.Format} of {request.Reference}");
        await responseStream.WriteAsync(new ExportImageChunk { TotalBytes = (ulong)archive.Length + (ulong)node.MissingExportBytes });
        await responseStream.WriteAsync(new ExportImageChunk { Data = Google.Protobuf.ByteString.CopyFrom(archive, 0, 5) });
        await responseStream.WriteAsync(new ExportImageChunk { Data = Google.Protobuf.ByteString.CopyFrom(archive, 5, archive.Length - 5) });
    }

    public override Task<ListImagesResponse> ListImages(ListImagesRequest request, ServerCallContext context) =>
        Task.FromResult(new ListImagesResponse { Images = { node.Images } });

    public override Task<RemoveImageResponse> RemoveImage(RemoveImageRequest request, ServerCallContext context)
    {
        var removed = node.Images.RemoveAll(i => i.References.Contains(request.Reference));
        return removed > 0
            ? Task.FromResult(new RemoveImageResponse { Removed = { request.Reference } })
            : throw FakeNode.Refusal("image-not-found", $"There is no image '{request.Reference}'.");
    }

    public override Task<ImageDetails> InspectImage(InspectImageRequest request, ServerCallContext context) =>
        node.Images.Find(image => image.References.Contains(request.Reference)) is { } found
            ? Task.FromResult(new ImageDetails
            {
                Image = found,
                RootfsDigest = "sha256:rootfs",
                Layers = { new ImageLayer { Digest = "sha256:layer", Bytes = 5 } },
                Environment = { new EnvironmentVariable { Name = "A", Value = "b=c" } },
                Labels = { ["title"] = "web" },
            })
            : throw FakeNode.Refusal("image-not-found", $"There is no image '{request.Reference}'.");

    public override Task<PruneImagesResponse> PruneImages(PruneImagesRequest request, ServerCallContext context)
    {
        var response = new PruneImagesResponse { Removed = { node.Images.Where(image => request.All || image.References.Count == 0) } };
        if (!request.DryRun)
            node.Images.RemoveAll(response.Removed.Contains);
        return Task.FromResult(response);
    }

    public override async Task VerifyImages(VerifyImagesRequest request, IServerStreamWriter<VerifiedImage> responseStream, ServerCallContext context)
    {
        foreach (var image in node.Images)
            await responseStream.WriteAsync(new VerifiedImage { Image = image, Damage = image.Damaged ? "it is another" : "" });
    }

    public override Task<ListKernelsResponse> ListKernels(ListKernelsRequest request, ServerCallContext context) =>
        Task.FromResult(new ListKernelsResponse { Kernels = { node.Kernels } });

    public override Task<Kernel> PinKernel(PinKernelRequest request, ServerCallContext context) => Task.FromResult(node.FindKernel(request.Reference));

    public override async Task<Kernel> AddKernel(IAsyncStreamReader<AddKernelChunk> requestStream, ServerCallContext context)
    {
        var name = "";
        using var data = new MemoryStream();
        await foreach (var chunk in requestStream.ReadAllAsync())
        {
            if (chunk.Name.Length > 0)
                name = chunk.Name;
            data.Write(chunk.Data.Span);
        }
        if (data.Length == 0)
            throw FakeNode.Refusal("kernel-invalid", "This is no kernel for a guest: it is neither a bzImage nor an ELF.");
        return node.AddKernel(name, (ulong)data.Length);
    }

    public override async Task BuildKernel(BuildKernelRequest request, IServerStreamWriter<BuildKernelProgress> responseStream, ServerCallContext context)
    {
        if (node.OnBuild is not null)
            await node.OnBuild(responseStream);
    }

    public override Task<Kernel> RemoveKernel(RemoveKernelRequest request, ServerCallContext context)
    {
        var kernel = node.FindKernel(request.Reference);
        if (kernel.IsDefault)
            throw FakeNode.Refusal("kernel-in-use", $"Kernel {kernel.Name} is the default; choose another first.");
        node.Kernels.Remove(kernel);
        return Task.FromResult(kernel);
    }

    public override Task<Kernel> SetDefaultKernel(SetDefaultKernelRequest request, ServerCallContext context)
    {
        var chosen = node.FindKernel(request.Reference);
        foreach (var kernel in node.Kernels)
            kernel.IsDefault = kernel == chosen;
        return Task.FromResult(chosen);
    }

    public override Task<StopAllResponse> StopAll(StopAllRequest request, ServerCallContext context) =>
        Task.FromResult(new StopAllResponse());
}
