using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;

namespace Ravel.ControlPlane;

/// <summary>Writes a stream of JSON objects, one a line, as they come: flushed whenever the next is not there yet.</summary>
internal static class NdjsonStream
{
    public const string ContentType = "application/x-ndjson";
    private static readonly byte[] NewLine = "\n"u8.ToArray();
    private const int FlushAt = 64 << 10;

    /// <summary>
    /// The first object is awaited before the answer begins, so that a source that fails at once is still a problem with its own
    /// status.
    /// </summary>
    /// <param name="http">The request.</param>
    /// <param name="source">Objects; disposed here.</param>
    /// <param name="type">How to write one.</param>
    /// <param name="beginsAtOnce">For a source that may have nothing to say for long: the answer begins before the first object.</param>
    /// <param name="onFailure">The last line after a failure in the middle; null: the connection is cut.</param>
    public static async Task WriteAsync<T>(
        HttpContext http, IAsyncEnumerable<T> source, JsonTypeInfo<T> type, Func<Exception, T>? onFailure = null, bool beginsAtOnce = false)
    {
        await using var items = source.GetAsyncEnumerator(http.RequestAborted);
        var more = !beginsAtOnce && await items.MoveNextAsync();
        http.Response.ContentType = ContentType;
        http.Response.Headers.CacheControl = "no-cache";
        await http.Response.StartAsync(http.RequestAborted);
        if (beginsAtOnce)
        {
            await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
            more = await items.MoveNextAsync();
        }

        var body = http.Response.BodyWriter;
        using var json = new Utf8JsonWriter(body);
        try
        {
            while (more)
            {
                Write(items.Current);
                var next = items.MoveNextAsync().AsTask();
                if (!next.IsCompleted || body.UnflushedBytes >= FlushAt)
                    await body.FlushAsync(http.RequestAborted);
                more = await next;
            }
        }
        catch (Exception e) when (onFailure is not null && !http.RequestAborted.IsCancellationRequested)
        {
            Write(onFailure(e));
        }
        await body.FlushAsync(http.RequestAborted);

        void Write(T item)
        {
            json.Reset(body);
            JsonSerializer.Serialize(json, item, type);
            json.Flush();
            NewLine.CopyTo(body.GetSpan(1));
            body.Advance(1);
        }
    }
}
