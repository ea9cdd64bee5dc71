using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Connection;

internal sealed partial class ApiClient
{
    public Task<ImageList> ListImagesAsync(CancellationToken cancellationToken) =>
        GetAsync("images", "v1/images", ApiJson.Default.ImageList, cancellationToken);

    /// <summary>Pulls an image; the last line has the image, or the problem.</summary>
    public async IAsyncEnumerable<PullProgress> PullImageAsync(
        string reference, string? pullPolicy, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var content = JsonContent.Create(
            new PullImageRequest { Reference = reference, PullPolicy = pullPolicy }, ApiJson.Default.PullImageRequest);
        await foreach (var line in LinesAsync(
            reference, HttpMethod.Post, "v1/images/pull", content, ApiJson.Default.PullProgress, cancellationToken))
        {
            yield return line;
        }
    }

    /// <summary>Uploads an image as a tar; the answer comes when its root file system is built.</summary>
    /// <param name="choice">Which image of the archive; null when it has only one.</param>
    public async Task<Image> ImportImageAsync(string subject, string? choice, string? reference, HttpContent archive, CancellationToken cancellationToken)
    {
        var query = new List<string>();
        if (choice is not null)
            query.Add($"image={Uri.EscapeDataString(choice)}");
        if (reference is not null)
            query.Add($"reference={Uri.EscapeDataString(reference)}");
        var path = query.Count == 0 ? "v1/images/import" : $"v1/images/import?{string.Join('&', query)}";
        using var response = await SendAsync(subject, HttpMethod.Post, path, archive, cancellationToken);
        return await ReadAsync(subject, response, ApiJson.Default.Image, cancellationToken);
    }

    /// <summary>An image as a tar, written as it comes.</summary>
    /// <param name="format"><c>oci-archive</c> or <c>docker-archive</c>.</param>
    public async Task ExportImageAsync(string reference, string format, Func<Stream, Task> read, CancellationToken cancellationToken)
    {
        using var response = await SendAsync(
            reference, HttpMethod.Get, $"v1/images/export?reference={Uri.EscapeDataString(reference)}&format={format}", null, cancellationToken);
        await using var body = new ServerBytes(await response.Content.ReadAsStreamAsync(cancellationToken), reference);
        await read(body);
    }

    public async Task<RemovedImages> RemoveImageAsync(string reference, CancellationToken cancellationToken)
    {
        using var response = await SendAsync(
            reference, HttpMethod.Delete, $"v1/images/{PathOfReference(reference)}", null, cancellationToken);
        return await ReadAsync(reference, response, ApiJson.Default.RemovedImages, cancellationToken);
    }

    public Task<ImageDetails> InspectImageAsync(string reference, CancellationToken cancellationToken) =>
        GetAsync(reference, $"v1/images/inspect?reference={Uri.EscapeDataString(reference)}", ApiJson.Default.ImageDetails, cancellationToken);

    public async Task<PrunedImages> PruneImagesAsync(bool all, bool dryRun, CancellationToken cancellationToken)
    {
        using var content = JsonContent.Create(new PruneImagesRequest { All = all, DryRun = dryRun }, ApiJson.Default.PruneImagesRequest);
        using var response = await SendAsync("images", HttpMethod.Post, "v1/images/prune", content, cancellationToken);
        return await ReadAsync("images", response, ApiJson.Default.PrunedImages, cancellationToken);
    }

    /// <summary>A line for each image as it is read; null for all images.</summary>
    public async IAsyncEnumerable<VerifiedImage> VerifyImagesAsync(string? reference, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var content = JsonContent.Create(new VerifyImagesRequest { Reference = reference }, ApiJson.Default.VerifyImagesRequest);
        await foreach (var line in LinesAsync(
            reference ?? "images", HttpMethod.Post, "v1/images/verify", content, ApiJson.Default.VerifiedImage, cancellationToken))
        {
            yield return line;
        }
    }

    /// <summary>Slashes stay: a server does not take %2F for one, and the path's rest is the reference.</summary>
    private static string PathOfReference(string reference) => string.Join('/', reference.Split('/').Select(Uri.EscapeDataString));
}
