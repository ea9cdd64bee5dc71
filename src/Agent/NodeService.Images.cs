using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Ravel.Agent.Guests;
using Ravel.Agent.Machines;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.Images;
using Image = Ravel.Contracts.Node.Image;
using ImageDetails = Ravel.Contracts.Node.ImageDetails;
using ImageLayer = Ravel.Contracts.Node.ImageLayer;
using PruneImagesRequest = Ravel.Contracts.Node.PruneImagesRequest;
using PullImageRequest = Ravel.Contracts.Node.PullImageRequest;
using VerifiedImage = Ravel.Contracts.Node.VerifiedImage;
using VerifyImagesRequest = Ravel.Contracts.Node.VerifyImagesRequest;

namespace Ravel.Agent;

internal sealed partial class NodeService
{
    private const int MaxReference = 4096;
    private const int ExportChunk = 64 << 10;

    public override Task PullImage(PullImageRequest request, IServerStreamWriter<PullImageProgress> responseStream, ServerCallContext context) =>
        NodeProblems.MapAsync(async () =>
        {
            CheckReference(request.Reference);
            var policy = request.Policy switch
            {
                Contracts.Node.PullPolicy.Always => Images.PullPolicy.Always,
                Contracts.Node.PullPolicy.Never => Images.PullPolicy.Never,
                _ => Images.PullPolicy.Missing,
            };
            var feed = new ProgressFeed(_agent.Time);
            var pull = PullAsync();
            await foreach (var step in feed.ReadAllAsync(context.CancellationToken))
                await responseStream.WriteAsync(ToProgress(step), context.CancellationToken);
            await responseStream.WriteAsync(new PullImageProgress { Image = ToImage(await pull) }, context.CancellationToken);

            async Task<StoredImage> PullAsync()
            {
                try
                {
                    return await _agent.Images.EnsureAsync(request.Reference, policy, feed, context.CancellationToken);
                }
                finally
                {
                    feed.Complete();
                }
            }
        });

    public override Task<Image> ImportImage(IAsyncStreamReader<ImportImageChunk> requestStream, ServerCallContext context) =>
        NodeProblems.MapAsync(async () =>
        {
            Directory.CreateDirectory(_agent.Options.ImportsDirectory);
            var path = Path.Combine(_agent.Options.ImportsDirectory, Contracts.Ids.InstanceId.New(_agent.Time.GetUtcNow()) + ".tar");
            try
            {
                var (reference, choice) = await ReceiveAsync(requestStream, path, context.CancellationToken);
                return ToImage(await _agent.Images.ImportAsync(path, choice, reference, context.CancellationToken));
            }
            finally
            {
                File.Delete(path);
            }
        });

    public override Task ExportImage(ExportImageRequest request, IServerStreamWriter<ExportImageChunk> responseStream, ServerCallContext context) =>
        NodeProblems.MapAsync(async () =>
        {
            CheckReference(request.Reference);
            var cancellation = context.CancellationToken;
            var image = _agent.Images.Find(request.Reference)
                ?? throw new ImageException(ProblemCodes.ImageNotFound, $"there is no image {request.Reference} on this host");
            if (image.IsDamaged)
                throw new ImageException(ProblemCodes.ImageDamaged, $"image {request.Reference} is damaged; pull or import it again");
            using var lease = _agent.Images.Lease(image.ManifestDigest);
            var format = request.Format == Contracts.Node.ExportFormat.DockerArchive ? Images.ExportFormat.DockerArchive : Images.ExportFormat.OciArchive;
            using var export = await ImageExport.OpenAsync(image, ExportName(request.Reference, image), format, cancellation);
            await responseStream.WriteAsync(new ExportImageChunk { TotalBytes = (ulong)export.Length }, cancellation);
            await using var chunks = new BufferedStream(new ChunkStream(responseStream), ExportChunk);
            await export.WriteAsync(chunks, cancellation);
            await chunks.FlushAsync(cancellation);
        });

    public override Task<ListImagesResponse> ListImages(ListImagesRequest request, ServerCallContext context) => NodeProblems.MapAsync(() =>
    {
        var response = new ListImagesResponse();
        response.Images.AddRange(_agent.Images.List().Select(ToImage));
        return Task.FromResult(response);
    });

    public override Task<RemoveImageResponse> RemoveImage(RemoveImageRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        CheckReference(request.Reference);
        var response = new RemoveImageResponse();
        response.Removed.AddRange(await _agent.Images.RemoveAsync(request.Reference, context.CancellationToken));
        return response;
    });

    public override Task<ImageDetails> InspectImage(InspectImageRequest request, ServerCallContext context) => NodeProblems.MapAsync(() =>
    {
        CheckReference(request.Reference);
        var image = _agent.Images.Find(request.Reference)
            ?? throw new ImageException(ProblemCodes.ImageNotFound, $"there is no image {request.Reference} on this host");
        var config = image.Config;
        var details = new ImageDetails
        {
            Image = ToImage(image),
            RootfsDigest = image.RootfsDigest,
            User = config.User,
            WorkingDirectory = config.WorkingDir,
            StopSignal = config.StopSignal,
            Architecture = config.Architecture,
        };
        details.Layers.AddRange(image.Layers.Select(layer => new ImageLayer { Digest = layer.Digest, Bytes = (ulong)layer.Bytes }));
        details.Entrypoint.AddRange(config.Entrypoint);
        details.Command.AddRange(config.Cmd);
        details.Environment.AddRange(config.Env.Select(text => text.Split('=', 2)).Select(
            pair => new EnvironmentVariable { Name = pair[0], Value = pair.Length > 1 ? pair[1] : "" }));
        details.ExposedPorts.AddRange(config.ExposedPorts);
        details.Volumes.AddRange(config.Volumes);
        details.Labels.Add(config.Labels.ToDictionary(StringComparer.Ordinal));
        return Task.FromResult(details);
    });

    public override Task<PruneImagesResponse> PruneImages(PruneImagesRequest request, ServerCallContext context) => NodeProblems.MapAsync(async () =>
    {
        var response = new PruneImagesResponse();
        response.Removed.AddRange((await _agent.Images.PruneAsync(request.All, request.DryRun, context.CancellationToken)).Select(ToImage));
        return response;
    });

    public override Task VerifyImages(VerifyImagesRequest request, IServerStreamWriter<VerifiedImage> responseStream, ServerCallContext context) =>
        NodeProblems.MapAsync(async () =>
        {
            if (request.Reference.Length > 0)
                CheckReference(request.Reference);
            var found = _agent.Images.VerifyAsync(request.Reference.Length == 0 ? null : request.Reference, context.CancellationToken);
            await foreach (var (image, damage) in found)
                await responseStream.WriteAsync(new VerifiedImage { Image = ToImage(image), Damage = damage ?? "" }, context.CancellationToken);
        });

    private static void CheckReference(string reference)
    {
        if (reference.Length is 0 or > MaxReference || reference.Any(char.IsControl))
            throw SpecRules.Invalid($"reference must be 1 to {MaxReference} characters without control characters");
    }

    /// <summary>The name that was asked for, where it is one of the image's; else its first.</summary>
    private static ImageReference? ExportName(string asked, StoredImage image)
    {
        if (ImageReference.TryParse(asked, out var name, out _) && image.References.Contains(name!.ToString()))
            return name;
        return image.References.Count > 0 ? ImageReference.Parse(image.References[0]) : null;
    }

    private static PullImageProgress ToProgress(ImageProgress step) => step switch
    {
        { LayerDigest: { } digest } => new PullImageProgress
        {
            Layer = new LayerProgress
            {
                Digest = digest,
                ReceivedBytes = (ulong)step.ReceivedBytes,
                TotalBytes = (ulong)step.TotalBytes,
                BytesPerSecond = (ulong)step.BytesPerSecond,
            },
        },
        { Registry: { } registry } => new PullImageProgress { Registry = registry },
        _ => new PullImageProgress { Phase = step.Phase },
    };

    private Image ToImage(StoredImage image)
    {
        var result = new Image
        {
            ManifestDigest = image.ManifestDigest,
            RootfsBytes = (ulong)image.RootfsBytes,
            CreatedAt = Timestamp.FromDateTimeOffset(image.CreatedAt),
            LastUsedAt = Timestamp.FromDateTimeOffset(image.LastUsedAt),
            Imported = image.IsImported,
            Damaged = image.IsDamaged,
        };
        result.References.AddRange(image.References);
        result.MachineIds.AddRange(_agent.Machines.Records.Where(record => record.ImageDigest == image.ManifestDigest).Select(record => record.Id.ToString()));
        return result;
    }

    /// <returns>The reference the image shall have and which image of the archive it is, where the caller says so.</returns>
    private async Task<(string? Reference, string? Choice)> ReceiveAsync(IAsyncStreamReader<ImportImageChunk> chunks, string path, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        string? reference = null;
        string? choice = null;
        var isFirst = true;
        while (await chunks.MoveNext(cancellationToken))
        {
            if (isFirst && chunks.Current.Reference.Length > 0)
                CheckReference(reference = chunks.Current.Reference);
            if (isFirst && chunks.Current.Choice.Length > 0)
                CheckReference(choice = chunks.Current.Choice);
            isFirst = false;
            if (file.Position + chunks.Current.Data.Length > _agent.Options.MaxImportBytes)
            {
                throw new InstanceException(
                    ProblemCodes.PayloadTooLarge, $"The archive is larger than the {_agent.Options.MaxImportBytes} bytes this node takes.");
            }
            if (_agent.LeftBytes() is var left && left < chunks.Current.Data.Length)
            {
                throw new InstanceException(
                    ProblemCodes.DiskFull,
                    $"There is no room for the archive: {Math.Max(0, left) >> 20} MiB of the disk are neither taken nor promised to machines; remove images or volumes that nobody needs.");
            }
            await file.WriteAsync(chunks.Current.Data.Memory, cancellationToken);
        }
        return (reference, choice);
    }

    /// <summary>Writes become messages that neither side keeps on its large object heap.</summary>
    private sealed class ChunkStream(IServerStreamWriter<ExportImageChunk> chunks) : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            for (; !buffer.IsEmpty; buffer = buffer[Math.Min(buffer.Length, ExportChunk)..])
            {
                // The message is on the wire when its write is done, so the buffer may be used again.
                var data = UnsafeByteOperations.UnsafeWrap(buffer[..Math.Min(buffer.Length, ExportChunk)]);
                await chunks.WriteAsync(new ExportImageChunk { Data = data }, cancellationToken);
            }
        }

        public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public override void Flush()
        {
        }

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
