using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography.X509Certificates;
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
/// Unless it misbehaves, it serves ranges of blobs and has the headers that registries have.
/// </summary>
public sealed class FaultyRegistry : IAsyncDisposable
{
    private readonly WebApplication _application;
    private readonly OciLayout _layout;
    private readonly ConcurrentQueue<(string Path, string? Authorization, string? Range)> _requests = new();

    // Kestrel resets an aborted connection, and with it goes what the client has not read yet; a test says at which byte it ends.
    static FaultyRegistry() => AppContext.SetSwitch("Microsoft.AspNetCore.Server.Kestrel.FinOnError", true);

    private FaultyRegistry(WebApplication application, OciLayout layout)
    {
        _application = application;
        _layout = layout;
    }

    /// <summary>As it stands at the head of an image reference: <c>127.0.0.1:PORT</c>, and <c>localhost:PORT</c> with a certificate.</summary>
    public string Host { get; private set; } = "";

    public IReadOnlyList<(string Path, string? Authorization, string? Range)> Requests => [.. _requests];

    /// <summary>Answers a request itself and returns true, or leaves it to the registry. Gets how often the path came before.</summary>
    public Func<HttpContext, int, Task<bool>> Fault { get; set; } = (_, _) => Task.FromResult(false);

    /// <param name="certificate">For TLS; without it is plain HTTP.</param>
    public static async Task<FaultyRegistry> StartAsync(OciLayout layout, X509Certificate2? certificate = null)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen =>
        {
            if (certificate is not null)
                listen.UseHttps(certificate);
        }));
        var application = builder.Build();
        var registry = new FaultyRegistry(application, layout);
        application.Run(registry.AnswerAsync);
        await application.StartAsync();
        var address = application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        registry.Host = new Uri(address).Authority;
        if (certificate is not null)
            registry.Host = $"localhost:{new Uri(address).Port}";
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
            context.Response.ContentType = "application/vnd.oci.image.manifest.v1+json";
            await context.Response.Body.WriteAsync(path.Contains("sha256:", StringComparison.Ordinal) ? Blob(path) : FirstManifest());
            return;
        }
        if (!path.Contains("/blobs/", StringComparison.Ordinal))
        {
            context.Response.StatusCode = StatusCodes.Status404NotFound;
            return;
        }
        await ServeAsync(context, Blob(path));
    }

    /// <summary>Serves content, or the part of it that a request asks for.</summary>
    public static async Task ServeAsync(HttpContext context, byte[] content)
    {
        var from = RangeStart(context);
        if (from is not null)
        {
            context.Response.StatusCode = StatusCodes.Status206PartialContent;
            context.Response.Headers.ContentRange = $"bytes {from}-{content.Length - 1}/{content.Length}";
        }
        context.Response.ContentLength = content.Length - (from ?? 0);
        await context.Response.Body.WriteAsync(content.AsMemory((int)(from ?? 0)));
    }

    /// <summary>The first byte that a request asks for; null when it asks for all.</summary>
    public static long? RangeStart(HttpContext context) => context.Request.GetTypedHeaders().Range?.Ranges.Single().From;

    /// <summary>What every tag names.</summary>
    public byte[] FirstManifest()
    {
        using var index = System.Text.Json.JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_layout.Directory, "index.json")));
        return Blob(index.RootElement.GetProperty("manifests")[0].GetProperty("digest").GetString()!);
    }
}
