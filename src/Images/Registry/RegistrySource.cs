using System.Net;
using System.Net.Http.Headers;
using Ravel.Images.Manifests;

namespace Ravel.Images.Registry;

/// <summary>An image in a registry.</summary>
internal sealed class RegistrySource : BlobImageSource
{
    private readonly ImageReference _reference;
    private readonly RegistryOptions _options;
    private readonly TimeProvider _time;
    private readonly RegistryClient _client;

    public RegistrySource(ImageReference reference, RegistryOptions options, ImageLimits limits, TimeProvider time)
        : base(reference.ToString(), limits)
    {
        _reference = reference;
        _options = options;
        _time = time;
        _client = new RegistryClient(reference, options, time);
    }

    public override async Task<Stream> OpenLayerAsync(Layer layer, long offset, CancellationToken cancellationToken)
    {
        var subject = $"layer {layer.Name} of {What}";
        var response = await _client.GetAsync(
            $"{_reference.Repository}/blobs/{layer.Digest}", subject,
            headers =>
            {
                if (offset > 0)
                    headers.Range = new RangeHeaderValue(offset, null);
            },
            cancellationToken);
        try
        {
            var stream = new StallGuardStream(
                await response.Content.ReadAsStreamAsync(cancellationToken), response, _options.StallTimeout, _time, _reference.Registry);
            if (offset == 0)
                return stream;
            if (response.StatusCode != HttpStatusCode.PartialContent)
                await SkipAsync(stream, offset, cancellationToken);
            else if (response.Content.Headers.ContentRange?.From != offset)
                throw new ImageException("image-pull-failed", $"{_reference.Registry} sends another part of {subject} than asked for");
            return stream;
        }
        catch
        {
            response.Dispose();
            throw;
        }
    }

    public override TimeSpan? RetryDelay(Exception error, int attempt) =>
        RegistryRetry.IsTransient(error) ? RegistryRetry.Delay(_options, attempt, null, Random.Shared.NextDouble()) : null;

    public override ValueTask DisposeAsync()
    {
        _client.Dispose();
        return base.DisposeAsync();
    }

    protected override async Task<(byte[] Content, string? MediaType)> ReadFirstAsync(CancellationToken cancellationToken)
    {
        var (content, mediaType, stated) = await ReadAsync(
            $"{_reference.Repository}/manifests/{_reference.Digest ?? _reference.Tag}", ManifestReader.MaxManifestBytes, What,
            headers =>
            {
                foreach (var accepted in MediaTypes.Accepted)
                    headers.Accept.Add(new MediaTypeWithQualityHeaderValue(accepted));
            },
            cancellationToken);
        var actual = Digest.Of(content);
        if (_reference.Digest is { } wanted && actual.ToString() != wanted)
            throw ManifestReader.Invalid($"{_reference.Registry} sent {actual} when asked for {What}");
        if (_reference.Digest is null && stated is not null && stated != actual.ToString() && Digest.TryParse(stated, out _))
            throw ManifestReader.Invalid($"the manifest of {What} arrived as {actual}, but the registry says it is {stated}");
        return (content, mediaType);
    }

    protected override async Task<byte[]> ReadManifestAsync(Descriptor descriptor, CancellationToken cancellationToken)
    {
        var (content, _, _) = await ReadAsync(
            $"{_reference.Repository}/manifests/{descriptor.Digest}", descriptor.Size, $"manifest {descriptor.Digest} of {What}",
            headers => headers.Accept.Add(new MediaTypeWithQualityHeaderValue(
                MediaTypes.IsIndex(descriptor.MediaType) ? descriptor.MediaType : MediaTypes.IsManifest(descriptor.MediaType) ? descriptor.MediaType : "*/*")),
            cancellationToken);
        return content;
    }

    protected override async Task<byte[]> ReadBlobAsync(Descriptor descriptor, CancellationToken cancellationToken)
    {
        var (content, _, _) = await ReadAsync(
            $"{_reference.Repository}/blobs/{descriptor.Digest}", descriptor.Size, $"blob {descriptor.Digest} of {What}", null, cancellationToken);
        return content;
    }

    /// <summary>Reads a small document, again from the start when the connection breaks in the middle.</summary>
    private async Task<(byte[] Content, string? MediaType, string? Digest)> ReadAsync(
        string path, long most, string subject, Action<HttpRequestHeaders>? headers, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                var response = await _client.GetAsync(path, subject, headers, cancellationToken);
                var stated = response.Headers.TryGetValues("Docker-Content-Digest", out var values) ? values.FirstOrDefault() : null;
                var mediaType = response.Content.Headers.ContentType?.MediaType;
                await using var stream = new StallGuardStream(
                    await response.Content.ReadAsStreamAsync(cancellationToken), response, _options.StallTimeout, _time, _reference.Registry);
                return (await BoundedContent.ReadAsync(stream, most, subject, cancellationToken), mediaType, stated);
            }
            catch (Exception e) when (e is not ImageException && RegistryRetry.IsTransient(e))
            {
                if (attempt >= _options.Attempts)
                    throw new ImageException("image-pull-failed", $"{subject} could not be read: {e.Message}", e);
                await Task.Delay(RegistryRetry.Delay(_options, attempt, null, Random.Shared.NextDouble()), _time, cancellationToken);
            }
        }
    }

    private static async Task SkipAsync(Stream stream, long count, CancellationToken cancellationToken)
    {
        var buffer = new byte[64 * 1024];
        while (count > 0)
        {
            var read = await stream.ReadAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, count)), cancellationToken);
            if (read == 0)
                throw new EndOfStreamException("the registry sent less than before");
            count -= read;
        }
    }
}
