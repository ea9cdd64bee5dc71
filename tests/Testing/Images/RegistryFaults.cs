using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace Ravel.Testing.Images;

/// <summary>Every fault of a registry that Ravel is tested against; docs/images.md lists the same. Those of TLS are apart.</summary>
public static class RegistryFaults
{
    private const string Failed = "image-pull-failed";
    private const string Invalid = "image-invalid";
    private const string Missing = "image-not-found";
    private const string Unauthorized = "registry-unauthorized";
    private const string OciIndex = "application/vnd.oci.image.index.v1+json";

    public static IReadOnlyList<RegistryFault> All { get; } =
    [
        // Time.
        Stalling("no answer", Failed, "no answer within", IsManifest, Stall),
        Stalling("no answer once", null, "", Once(IsManifest), Stall),
        Stalling("a manifest that stops in the middle", Failed, "64 KiB", IsManifest, (r, c) => Part(r, c, 50, Stall)),
        Stalling("a layer that stops in the middle", Failed, "64 KiB", IsLayer, (r, c) => Part(r, c, FaultyRegistry.RangeStart(c) is null ? 70_000 : 0, Stall)),
        Stalling("a layer that stops in the middle once", null, "", Once(IsLayer), (r, c) => Part(r, c, 70_000, Stall)),
        Stalling("a layer that comes byte by byte", Failed, "64 KiB", IsLayer, Trickle),

        // Connections that break.
        .. new[] { 0, 1, 65_535, 65_536, 600_000 }.Select(at =>
            Fault($"a layer that closes at byte {at}", null, "", Once(IsLayer), (r, c) => Part(r, c, at, Abort))),
        Fault("a layer that closes every 300000 bytes", null, "", IsLayer, (r, c) => Part(r, c, 300_000, Abort)),
        Fault("a layer that always closes at once", Failed, "layer sha256:", IsLayer, (r, c) => Part(r, c, 1, Abort)),
        Fault("a manifest that closes in the middle once", null, "", Once(IsManifest), (r, c) => Part(r, c, 50, Abort)),
        Fault("a manifest that always closes in the middle", Failed, "5 tries", IsManifest, (r, c) => Part(r, c, 50, Abort)),
        Fault("a connection that closes without an answer once", null, "", Once(IsManifest), Abort),

        // Going on after that.
        Resuming("a range that is answered with all", (r, c) => Whole(c, r.Blob(c.Request.Path!))),
        Resuming("a range that is answered with another part", (r, c) =>
        {
            c.Response.StatusCode = 206;
            c.Response.Headers.ContentRange = $"bytes 5-99/{r.Blob(c.Request.Path!).Length}";
            return Whole(c, r.Blob(c.Request.Path!)[5..100]);
        }),
        Resuming("a range that is answered without saying which", (r, c) =>
        {
            c.Response.StatusCode = 206;
            return Whole(c, r.Blob(c.Request.Path!));
        }),
        Resuming("a range that is refused with 416", Status(416)),
        Resuming("another ETag when going on", (r, c) =>
        {
            c.Response.Headers.ETag = $"\"{c.TraceIdentifier}\"";
            return FaultyRegistry.ServeAsync(c, r.Blob(c.Request.Path!));
        }),

        // Lies about length.
        Fault("a layer shorter than its Content-Length", null, "", IsLayer, async (r, c) =>
        {
            var blob = r.Blob(c.Request.Path!);
            c.Response.ContentLength = blob.Length + 1000;
            await Send(c, blob);
            c.Abort();
        }),
        Fault("a layer cut short by its Content-Length once", null, "", Once(IsLayer), (r, c) => Whole(c, r.Blob(c.Request.Path!)[..500_000])),
        Fault("a layer that always ends early", Failed, "ended after", IsLayer, (r, c) => FaultyRegistry.ServeAsync(c, r.Blob(c.Request.Path!)[..^1000])),
        Fault("a layer longer than the manifest says", Invalid, "longer", IsLayer, (r, c) => Whole(c, [.. r.Blob(c.Request.Path!), .. new byte[100_000]])),
        Fault("a layer without end", Invalid, "longer", IsLayer, async (r, c) =>
        {
            await Send(c, r.Blob(c.Request.Path!));
            await Endless(c);
        }),
        Fault("a manifest without end", Invalid, "longer", IsManifest, (_, c) => Endless(c)),
        Fault("a huge manifest", Invalid, "longer", IsManifest, (_, c) => Whole(c, new byte[(4 << 20) + 1])),
        Fault("a configuration without end", Invalid, "longer", IsConfig, (_, c) => Endless(c)),
        Fault("headers without end", Failed, "headers", IsManifest, (_, c) =>
        {
            for (var i = 0; i < 100; i++)
                c.Response.Headers[$"x-{i}"] = new string('h', 1000);
            return Task.CompletedTask;
        }),

        // Wrong content.
        Fault("a layer with a flipped bit", Invalid, "push the image anew", IsLayer, (r, c) => Whole(c, Flipped(r.Blob(c.Request.Path!)))),
        Fault("a configuration with a flipped bit", Invalid, "push the image anew", IsConfig, (r, c) => Whole(c, Flipped(r.Blob(c.Request.Path!)))),
        Fault("a manifest that is not what its header says", Invalid, "push it anew", IsManifest, (r, c) =>
        {
            c.Response.Headers["Docker-Content-Digest"] = Digest("other"u8);
            return Whole(c, r.FirstManifest());
        }),
        Fault("a web page", Failed, "web page", IsManifest, (_, c) => Text(c, "text/html", "<html>Sign in to the network</html>")),
        Fault("an empty manifest", Invalid, "not JSON", IsManifest, (_, c) => Whole(c, [])),
        Fault("a manifest of an unknown type", Invalid, "of type", IsManifest, (_, c) => Text(c, "application/json", """{"mediaType":"application/vnd.other+json"}""")),
        Fault("Docker's schema 1", Invalid, "schema 1", IsManifest, (_, c) =>
            Text(c, "application/vnd.docker.distribution.manifest.v1+prettyjws", """{"schemaVersion":1,"fsLayers":[]}""")),
        Fault("indexes within indexes", Invalid, "indexes inside one another", IsManifest, NestedIndex),
        Fault("an index that names itself", Invalid, "", IsManifest, (_, c) => Text(c, OciIndex, Index(Digest("itself"u8), 300))),
        Fault("a foreign layer", Invalid, "foreign layer", IsManifest, (r, c) => Changed(r, c, "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
        Fault("a layer that is no archive", Invalid, "not part of a file system", IsManifest, (r, c) => Changed(r, c, "image.layer.v1.tar+gzip", "something.v1+json")),

        // Compression that nobody asked for.
        Fault("a manifest compressed on the way", null, "", IsManifest, (r, c) =>
        {
            c.Response.Headers.ContentEncoding = "gzip";
            return Whole(c, Gzip(r.FirstManifest()));
        }),
        Fault("a manifest that inflates without end", Invalid, "longer", IsManifest, (_, c) =>
        {
            c.Response.Headers.ContentEncoding = "gzip";
            return Whole(c, Gzip(new byte[64 << 20]));
        }),
        Fault("a layer compressed on the way", Failed, "pass by the proxy", IsLayer, (r, c) =>
        {
            c.Response.Headers.ContentEncoding = "gzip";
            return Whole(c, Gzip(r.Blob(c.Request.Path!)));
        }),
        Fault("a layer kept under Content-Encoding", null, "", IsLayer, (r, c) =>
        {
            c.Response.Headers.ContentEncoding = "gzip";
            return FaultyRegistry.ServeAsync(c, r.Blob(c.Request.Path!));
        }),

        // Refusals.
        new RegistryFault("500, 502 and 503, then an answer", null, "", async (r, c, before) => before < 3 && await Done(Status(500 + (before == 0 ? 0 : before + 1))(r, c))),
        Fault("503 for ever", Failed, "503", Any, Status(503)),
        Fault("429 for ever", Failed, "use a mirror", Any, RetryAfter("3600")),
        Fault("429 once, to wait seconds", null, "", Once(Any), RetryAfter("1")),
        Fault("429 once, to wait until a date", null, "", Once(Any), RetryAfter("Fri, 31 Dec 2100 23:59:59 GMT")),
        Fault("429 once, to wait for nonsense", null, "", Once(Any), RetryAfter("soon")),
        Fault("404 for the manifest", Missing, "check its name and tag", IsManifest, Status(404)),
        Fault("404 for a layer", Missing, "layer sha256:", IsLayer, Status(404)),
        Fault("403", Unauthorized, "docker login", Any, Status(403)),
        Fault("a status no registry has", Failed, "418", Any, Status(418)),

        // Redirects.
        Fault("a redirect to itself", Failed, "circle", Any, (_, c) => Redirect(c, c.Request.Path)),
        Fault("redirects in a circle", Failed, "circle", Any, (_, c) => Redirect(c, c.Request.Path.Value!.EndsWith("-a", StringComparison.Ordinal) ? "/v2/-b" : "/v2/-a")),
        Fault("redirects without end", Failed, "8 times", Any, (_, c) => Redirect(c, $"{c.Request.Path}x")),
        Fault("a redirect away from TLS or loopback", Failed, "no TLS", Any, (_, c) => Redirect(c, "http://registry.example/v2/x")),
        Fault("a redirect to a file", Failed, "redirects", Any, (_, c) => Redirect(c, "file:///etc/passwd")),
        Fault("a redirect to what is no address", Failed, "redirects", Any, (_, c) => Redirect(c, "http://[")),

        // Authentication.
        Fault("401 without a question", Unauthorized, "Basic and Bearer", Any, Status(401)),
        Fault("401 for ever, for a password", Unauthorized, "log in again", Any, Challenge(_ => "Basic realm=\"r\"")),
        Fault("401 with a scheme nobody knows", Unauthorized, "Basic and Bearer", Any, Challenge(_ => "Negotiate")),
        Token("401 for ever, for a token", "docker login", (_, c) => Text(c, "application/json", """{"token":"t"}""")),
        Token("a token service that answers nonsense", "without a token", (_, c) => Text(c, "application/json", "{{{")),
        Token("a token service that answers a list", "without a token", (_, c) => Text(c, "application/json", "[1]")),
        Token("a token service that answers no token", "without a token", (_, c) => Text(c, "application/json", "{}")),
        Token("a token with line breaks", "without a token", (_, c) => Text(c, "application/json", """{"token":"t\r\nx: y"}""")),
        Token("a token without end", "longer", (_, c) => Endless(c)),
        Token("a token service that refuses", "docker login", Status(401)),
        Token("a token service that redirects", "302", (_, c) => Redirect(c, "/elsewhere")),
        Token("a token service that is broken", "500", Status(500)) with { Code = Failed },
        Token("a token service that does not answer", "no token within", Stall) with { Code = Failed, Stalls = true },
        Fault("a token service without TLS elsewhere", Unauthorized, "without TLS", Any, Challenge(_ => "Bearer realm=\"http://token.example/t\"")),
        Fault("a token service without an address", Unauthorized, "where to get it", Any, Challenge(_ => "Bearer service=\"x\"")),
    ];

    private static RegistryFault Fault(string name, string? code, string words, Func<FaultyRegistry, HttpContext, int, bool> when, Func<FaultyRegistry, HttpContext, Task> answer) =>
        new(name, code, words, async (registry, context, before) => when(registry, context, before) && await Done(answer(registry, context)));

    private static RegistryFault Stalling(
        string name, string? code, string words, Func<FaultyRegistry, HttpContext, int, bool> when, Func<FaultyRegistry, HttpContext, Task> answer) =>
        Fault(name, code, words, when, answer) with { Stalls = true };

    /// <summary>A layer that breaks off once; what comes when the client asks for the rest is the fault.</summary>
    private static RegistryFault Resuming(string name, Func<FaultyRegistry, HttpContext, Task> answer) =>
        new(name, null, "", async (registry, context, before) =>
        {
            if (!IsLayer(registry, context, before))
                return false;
            if (before == 0)
                await Part(registry, context, 500_000, Abort);
            else if (FaultyRegistry.RangeStart(context) is not null)
                await answer(registry, context);
            else
                return false;
            return true;
        });

    private static RegistryFault Token(string name, string words, Func<FaultyRegistry, HttpContext, Task> answer) =>
        new(name, Unauthorized, words, async (registry, context, _) =>
        {
            if (context.Request.Path == "/token")
                await answer(registry, context);
            else
                await Challenge(r => $"Bearer realm=\"http://{r.Host}/token\",service=\"s\"")(registry, context);
            return true;
        });

    private static bool Any(FaultyRegistry registry, HttpContext context, int before) => true;

    private static bool IsManifest(FaultyRegistry registry, HttpContext context, int before) =>
        context.Request.Path.Value!.Contains("/manifests/", StringComparison.Ordinal);

    /// <summary>Told from the configuration by its size.</summary>
    private static bool IsLayer(FaultyRegistry registry, HttpContext context, int before) =>
        context.Request.Path.Value!.Contains("/blobs/", StringComparison.Ordinal) && registry.Blob(context.Request.Path!).Length > 100_000;

    private static bool IsConfig(FaultyRegistry registry, HttpContext context, int before) =>
        context.Request.Path.Value!.Contains("/blobs/", StringComparison.Ordinal) && !IsLayer(registry, context, before);

    private static Func<FaultyRegistry, HttpContext, int, bool> Once(Func<FaultyRegistry, HttpContext, int, bool> when) =>
        (registry, context, before) => before == 0 && when(registry, context, before);

    private static async Task<bool> Done(Task answer)
    {
        await answer;
        return true;
    }

    private static Func<FaultyRegistry, HttpContext, Task> Status(int status) => (_, context) =>
    {
        context.Response.StatusCode = status;
        return Task.CompletedTask;
    };

    private static Func<FaultyRegistry, HttpContext, Task> RetryAfter(string value) => (_, context) =>
    {
        context.Response.StatusCode = 429;
        context.Response.Headers.RetryAfter = value;
        return Task.CompletedTask;
    };

    private static Func<FaultyRegistry, HttpContext, Task> Challenge(Func<FaultyRegistry, string> challenge) => (registry, context) =>
    {
        context.Response.StatusCode = 401;
        context.Response.Headers.WWWAuthenticate = challenge(registry);
        return Task.CompletedTask;
    };

    private static Task Redirect(HttpContext context, string location)
    {
        context.Response.StatusCode = 302;
        context.Response.Headers.Location = location;
        return Task.CompletedTask;
    }

    /// <summary>Sends no more until the client goes.</summary>
    private static async Task Stall(FaultyRegistry registry, HttpContext context)
    {
        var gone = new TaskCompletionSource();
        await using var registration = context.RequestAborted.Register(gone.SetResult);
        await gone.Task;
    }

    private static Task Abort(FaultyRegistry registry, HttpContext context)
    {
        context.Abort();
        return Task.CompletedTask;
    }

    /// <summary>Sends some of what is asked for, and then does something else, unless that was all.</summary>
    private static async Task Part(FaultyRegistry registry, HttpContext context, int bytes, Func<FaultyRegistry, HttpContext, Task> then)
    {
        var content = context.Request.Path.Value!.Contains("/manifests/", StringComparison.Ordinal) ? registry.FirstManifest() : registry.Blob(context.Request.Path!);
        var from = (int)(FaultyRegistry.RangeStart(context) ?? 0);
        if (from > 0)
        {
            context.Response.StatusCode = 206;
            context.Response.Headers.ContentRange = $"bytes {from}-{content.Length - 1}/{content.Length}";
        }
        context.Response.ContentLength = content.Length - from;
        var end = Math.Min(content.Length, from + bytes);
        await Send(context, content[from..end]);
        if (end < content.Length)
            await then(registry, context);
    }

    private static async Task Trickle(FaultyRegistry registry, HttpContext context)
    {
        var blob = registry.Blob(context.Request.Path!);
        context.Response.ContentLength = blob.Length;
        using var beat = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        for (var i = 0; !context.RequestAborted.IsCancellationRequested; i++)
        {
            await Send(context, [blob[i]]);
            await beat.WaitForNextTickAsync();
        }
    }

    private static async Task Endless(HttpContext context)
    {
        var block = new byte[64 * 1024];
        while (!context.RequestAborted.IsCancellationRequested)
            await Send(context, block);
    }

    private static async Task Send(HttpContext context, byte[] content)
    {
        await context.Response.Body.WriteAsync(content);
        await context.Response.Body.FlushAsync();
    }

    private static async Task Whole(HttpContext context, byte[] content)
    {
        context.Response.ContentLength = content.Length;
        await context.Response.Body.WriteAsync(content);
    }

    private static Task Text(HttpContext context, string mediaType, string text)
    {
        context.Response.ContentType = mediaType;
        return Whole(context, Encoding.UTF8.GetBytes(text));
    }

    private static Task Changed(FaultyRegistry registry, HttpContext context, string from, string to)
    {
        var text = Encoding.UTF8.GetString(registry.FirstManifest());
        return Text(context, "application/vnd.oci.image.manifest.v1+json", text.Replace(from, to, StringComparison.Ordinal));
    }

    /// <summary>Ten indexes, each naming the next by its right digest.</summary>
    private static Task NestedIndex(FaultyRegistry registry, HttpContext context)
    {
        var documents = new List<string> { Index(Digest("end"u8), 3) };
        while (documents.Count < 10)
            documents.Add(Index(Digest(Encoding.UTF8.GetBytes(documents[^1])), documents[^1].Length));
        var asked = documents.Find(document => context.Request.Path.Value!.EndsWith(Digest(Encoding.UTF8.GetBytes(document)), StringComparison.Ordinal));
        return Text(context, OciIndex, asked ?? documents[^1]);
    }

    private static string Index(string digest, int size) =>
        $$"""{"schemaVersion":2,"mediaType":"{{OciIndex}}","manifests":[{"mediaType":"{{OciIndex}}","digest":"{{digest}}","size":{{size}} }]}""";

    private static string Digest(ReadOnlySpan<byte> content) => $"sha256:{Convert.ToHexStringLower(SHA256.HashData(content))}";

    private static byte[] Flipped(byte[] content)
    {
        content[^9] ^= 1;
        return content;
    }

    private static byte[] Gzip(byte[] content)
    {
        using var stored = new MemoryStream();
        using (var deflater = new GZipStream(stored, CompressionLevel.Fastest, leaveOpen: true))
            deflater.Write(content);
        return stored.ToArray();
    }
}
