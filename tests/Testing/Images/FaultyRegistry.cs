using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Ravel.Testing.Images;

/// <summary>
/// A registry that serves one layout under every name and tag, and misbehaves as a test says. It keeps every request it got.
/// </summary>
public sealed class FaultyRegistry : IAsyncDisposable
{
    private readonly WebApplication _application;
    private readonly OciLayout _layout;
    private readonly ConcurrentQueue<(string Path, string? Authorization, string? Range)> _requests = new();

    private FaultyRegistry(WebApplication application, OciLayout layout)
    {
        _application = application;
        _layout = layout;
    }

    public string Host { get; private set; } = "";

    public IReadOnlyList<(string Path, string? Authorization, string? Range)> Requests => [.. _requests];

    /// <summary>Answers a request itself and returns true, or leaves it to the registry. Gets how often the path came before.</summary>
    public Func<HttpContext, int, Task<bool>> Fault { get; set; } = (_, _) => Task.FromResult(false);

    public static async Task<FaultyRegistry> StartAsync(OciLayout layout)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var application = builder.Build();
        var registry = new FaultyRegistry(application, layout);
        application.Run(registry.AnswerAsync);
        await application.StartAsync();
        var address = application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        registry.Host = new Uri(address).Authority;
        return registry;
    }

    /// <summary>The blob a path asks for, whole.</summary>
    public byte[] Blob(string path) =>
        File.ReadAllBytes(Path.Combine(_layout.Directory, "blobs", "sha256", path[(path.LastIndexOf(':') + 1)..]));

    public int Count(string part) => _requests.Count(request => request.Path.Contains(part, StringComparison.Ordinal));

    public async ValueTask DisposeAsync() => await _application.DisposeAsync();

    private async Task AnswerAsync(HttpContext context)
    {
        var path = context.Request.Path.Value!;
        var before = _requests.Count(request => request.Path == path);
        _requests.Enqueue((path, context.Request.Headers.Authorization, context.Request.Headers.Range));
        if (await Fault(context, before))
            return;
        if (path.Contains("/manifests/", StringComparison.Ordinal))
        {
            var digest = path.Contains("sha256:", StringComparison.Ordinal) ? path : FirstManifest();
            context.Response.ContentType = "application/vnd.oci.image.manifest.v1+json";
            await context.Response.Body.WriteAsync(Blob(digest));
            return;
        }
        var blob = Blob(path);
        context.Response.ContentLength = blob.Length;
        await context.Response.Body.WriteAsync(blob);
    }

    private string FirstManifest()
    {
        using var index = System.Text.Json.JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_layout.Directory, "index.json")));
        return index.RootElement.GetProperty("manifests")[0].GetProperty("digest").GetString()!;
    }
}
