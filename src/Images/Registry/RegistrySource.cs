using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using Ravel.Images.Manifests;

namespace Ravel.Images.Registry;

/// <summary>
/// An image in a registry or its mirrors. The places are asked in order; one that cannot give what it is asked for is left for
/// the next, and not asked again for this image.
/// </summary>
internal sealed class RegistrySource : BlobImageSource
{
    /// <summary>Broken transfers in a row after which a mirror is left.</summary>
    private const int MirrorTransfers = 2;

    private readonly ImageReference _reference;
    private readonly RegistryOptions _options;
    private readonly TimeProvider _time;
    private readonly RegistryConnections _connections;
    private readonly IReadOnlyList<RegistryClient> _places;

    /// <summary>The first of the places that are still asked.</summary>
    private int _first;

    /// <summary>The first of the places that gave a layer since <see cref="TryAnotherPlace"/>.</summary>
    private int _firstGiver = int.MaxValue;
    private string? _servedBy;

    /// <summary>Which place each layer comes from, and how often it broke off there.</summary>
    private readonly ConcurrentDictionary<Layer, (int Place, int Breaks)> _transfers = new();

    public RegistrySource(ImageReference reference, RegistryOptions options, ImageLimits limits, TimeProvider time)
        : base(reference.ToString(), limits)
    {
        _reference = reference;
        _options = options;
        _time = time;
        _connections = new RegistryConnections(options);
        var places = RegistryEndpoint.PlacesOf(reference, options);
        _places = [.. places.Select((place, i) => new RegistryClient(place, _connections, options, time, i < places.Count - 1 ? 1 : options.Attempts))];
    }

    /// <summary>Told who gives the image, first and whenever that changes.</summary>
    public Action<string>? Served { get; set; }

    public override Task<Stream> OpenLayerAsync(Layer layer, long offset, CancellationToken cancellationToken) =>
        AskAsync(client => OpenAsync(client, layer, offset, cancellationToken));

    public override TimeSpan? RetryDelay(Layer layer, Exception error, int attempt)
    {
        if (!RegistryFailure.IsTransient(error))
            return null;
        var (place, breaks) = _transfers.AddOrUpdate(layer, _ => (Volatile.Read(ref _first), 1), (_, transfer) => (transfer.Place, transfer.Breaks + 1));
        // A mirror that is slow stays so; one that broke off gets another chance.
        if ((Math.Min(attempt, breaks) >= MirrorTransfers || error is TimeoutException) && place < _places.Count - 1)
            Leave(place);
        return RegistryRetry.Delay(_options, attempt, null, Random.Shared.NextDouble());
    }

    public override bool TryAnotherPlace()
    {
        var giver = Interlocked.Exchange(ref _firstGiver, int.MaxValue);
        if (giver >= _places.Count - 1)
            return false;
        // Those behind it, which may have given the other layers, have their turn; so it ends after as many tries as there are places.
        Leave(giver);
        return true;
    }

    public override ValueTask DisposeAsync()
    {
        foreach (var client in _places)
            client.Dispose();
        _connections.Dispose();
        return base.DisposeAsync();
    }

    protected override Task<(byte[] Content, string? MediaType)> ReadFirstAsync(CancellationToken cancellationToken) =>
        AskAsync(async client =>
        {
            var (content, mediaType, stated) = await ReadAsync(
                client, $"manifests/{_reference.Digest ?? _reference.Tag}", ManifestReader.MaxManifestBytes, What,
                headers =>
                {
                    foreach (var accepted in MediaTypes.Accepted)
                        headers.Accept.Add(new MediaTypeWithQualityHeaderValue(accepted));
                },
                cancellationToken);
            if (mediaType is "text/html")
                throw new ImageException("image-pull-failed", $"{client.Place.Host} answers with a web page when asked for {What}; check that it is a registry, and any proxy");
            // Here, because what a mirror makes of a tag is no word against the next place.
            ManifestReader.Parse(content, $"the manifest of {What} from {client.Place.Host}");
            var actual = Digest.Of(content);
            if (_reference.Digest is { } wanted && actual.ToString() != wanted)
                throw ManifestReader.Invalid($"{client.Place.Host} sent {actual} when asked for {What}; check any proxy, and tell who runs it");
            if (_reference.Digest is null && stated is not null && stated != actual.ToString() && Digest.TryParse(stated, out _))
                throw ManifestReader.Invalid($"the manifest of {What} arrived as {actual}, but {client.Place.Host} says it is {stated}; try again, or push it anew");
            return (content, mediaType);
        });

    protected override Task<byte[]> ReadManifestAsync(Descriptor descriptor, CancellationToken cancellationToken) =>
        ReadCheckedAsync(
            descriptor, $"manifests/{descriptor.Digest}", $"manifest {descriptor.Digest} of {What}",
            headers => headers.Accept.Add(new MediaTypeWithQualityHeaderValue(
                MediaTypes.IsIndex(descriptor.MediaType) || MediaTypes.IsManifest(descriptor.MediaType) ? descriptor.MediaType : "*/*")),
            cancellationToken);

    protected override Task<byte[]> ReadBlobAsync(Descriptor descriptor, CancellationToken cancellationToken) =>
        ReadCheckedAsync(descriptor, $"blobs/{descriptor.Digest}", $"blob {descriptor.Digest} of {What}", null, cancellationToken);

    /// <summary>Asks one place after the other.</summary>
    /// <exception cref="ImageException">Of the registry itself, with what its mirrors said.</exception>
    private async Task<T> AskAsync<T>(Func<RegistryClient, Task<T>> ask)
    {
        var failures = new List<string>();
        while (true)
        {
            var place = Volatile.Read(ref _first);
            try
            {
                var answer = await ask(_places[place]);
                if (Interlocked.Exchange(ref _servedBy, _places[place].Place.Host) != _places[place].Place.Host)
                    Served?.Invoke(_places[place].Place.Host);
                return answer;
            }
            catch (ImageException e) when (place < _places.Count - 1)
            {
                failures.Add(e.Message);
                Leave(place);
            }
            catch (ImageException e) when (failures.Count > 0)
            {
                throw new ImageException(e.Code, $"{e.Message} (and its mirrors: {string.Join("; ", failures)})", e);
            }
        }
    }

    /// <summary>Goes on behind a place, unless another layer did already.</summary>
    private void Leave(int place) => Interlocked.CompareExchange(ref _first, place + 1, place);

    private void NoteGiver(int place)
    {
        for (var seen = Volatile.Read(ref _firstGiver); place < seen;)
        {
            var before = Interlocked.CompareExchange(ref _firstGiver, place, seen);
            if (before == seen)
                return;
            seen = before;
        }
    }

    private async Task<Stream> OpenAsync(RegistryClient client, Layer layer, long offset, CancellationToken cancellationToken)
    {
        var subject = $"layer {layer.Digest} of {What}";
        var place = _places.Index().First(pair => pair.Item == client).Index;
        _transfers.AddOrUpdate(layer, (place, 0), (_, transfer) => transfer.Place == place ? transfer : (place, 0));
        var response = await client.GetAsync(
            $"blobs/{layer.Digest}", subject,
            headers =>
            {
                if (offset > 0)
                    headers.Range = new RangeHeaderValue(offset, null);
            },
            acceptsRefusedRange: offset > 0, cancellationToken);
        try
        {
            var resumes = offset > 0 && response.StatusCode == HttpStatusCode.PartialContent && response.Content.Headers.ContentRange?.From == offset;
            if (offset > 0 && !resumes && response.StatusCode != HttpStatusCode.OK)
            {
                // Refused, or another part than asked for: from the start then.
                response.Dispose();
                response = await client.GetAsync($"blobs/{layer.Digest}", subject, null, acceptsRefusedRange: false, cancellationToken);
            }
            // A storage that keeps the compressed layer under this header sends as many bytes as the manifest says; whoever compresses on the way does not.
            if (response.Content.Headers.ContentEncoding.Any(encoding => encoding != "identity") && response.Content.Headers.ContentLength != layer.Size - (resumes ? offset : 0))
            {
                throw new ImageException(
                    "image-pull-failed",
                    $"{client.Place.Host} sends {subject} with Content-Encoding {RegistryFailure.OneLine(string.Join(',', response.Content.Headers.ContentEncoding))}, which nobody asked for; pass by the proxy that adds it");
            }
            var stream = new StallGuardStream(
                await response.Content.ReadAsStreamAsync(cancellationToken), response, _options.StallTimeout, _time, client.Place.Host);
            if (!resumes)
                await SkipAsync(stream, offset, cancellationToken);
            NoteGiver(place);
            return stream;
        }
        catch
        {
            response.Dispose();
            throw;
        }
    }

    private Task<byte[]> ReadCheckedAsync(
        Descriptor descriptor, string path, string subject, Action<HttpRequestHeaders>? headers, CancellationToken cancellationToken) =>
        AskAsync(async client =>
        {
            var (content, _, _) = await ReadAsync(client, path, descriptor.Size, subject, headers, cancellationToken);
            return Digest.Of(content) is var actual && actual == descriptor.Digest
                ? content
                : throw ManifestReader.Invalid($"{client.Place.Host} sent {actual} as {subject}; try again, or push the image anew");
        });

    /// <summary>Reads a small document, again from the start when the connection breaks in the middle.</summary>
    private async Task<(byte[] Content, string? MediaType, string? Digest)> ReadAsync(
        RegistryClient client, string path, long most, string subject, Action<HttpRequestHeaders>? headers, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                var response = await client.GetAsync(path, subject, headers, acceptsRefusedRange: false, cancellationToken);
                var stated = response.Headers.TryGetValues("Docker-Content-Digest", out var values) ? values.FirstOrDefault() : null;
                var mediaType = response.Content.Headers.ContentType?.MediaType;
                var isEncoded = response.Content.Headers.ContentEncoding.Count > 0;
                await using var stream = new StallGuardStream(
                    await response.Content.ReadAsStreamAsync(cancellationToken), response, _options.StallTimeout, _time, client.Place.Host);
                var content = await BoundedContent.ReadAsync(stream, most, subject, cancellationToken);
                if (isEncoded)
                    content = await BoundedContent.InflateAsync(content, most, subject, cancellationToken);
                return (content, mediaType, stated);
            }
            catch (Exception e) when (e is not ImageException && RegistryFailure.IsTransient(e))
            {
                if (attempt >= client.Attempts)
                {
                    throw new ImageException(
                        "image-pull-failed", $"{client.Place.Host} did not give {subject} whole in {attempt} tries: {RegistryFailure.Explain(e, client.Place.Host, _options)}", e);
                }
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
