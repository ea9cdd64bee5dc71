using Google.Protobuf;
using Grpc.Core;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Metadata;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Nodes;

/// <summary>Passes the body of a request on to a node as it comes.</summary>
internal static class NodeUpload
{
    private const int Chunk = 64 << 10;

    /// <summary>For endpoints whose limit is an option, counted while the body passes.</summary>
    public static object AnyLength { get; } = new UnlimitedBody();

    /// <summary>Sends the first message and then the body. When the node breaks off, its answer, awaited next, says why.</summary>
    /// <param name="http">The request.</param>
    /// <param name="to">The node's end.</param>
    /// <param name="first">What goes before the data.</param>
    /// <param name="chunk">A message with data.</param>
    /// <param name="limit">Most bytes of the body.</param>
    /// <param name="what">What it is, for the refusal.</param>
    /// <exception cref="ProblemException"><c>unsupported-media-type</c>, <c>payload-too-large</c>.</exception>
    public static async Task SendAsync<T>(HttpContext http, IClientStreamWriter<T> to, T first, Func<ByteString, T> chunk, long limit, string what)
    {
        if (http.Request.ContentType is not "application/octet-stream")
            throw new ProblemException(ProblemCodes.UnsupportedMediaType, $"Send the {what} as application/octet-stream.");
        if (http.Request.ContentLength > limit)
            throw TooLarge(what, limit);
        try
        {
            await to.WriteAsync(first, http.RequestAborted);
            var buffer = new byte[Chunk];
            long total = 0;
            int read;
            while ((read = await http.Request.Body.ReadAtLeastAsync(buffer, Chunk, throwOnEndOfStream: false, http.RequestAborted)) > 0)
            {
                total += read;
                if (total > limit)
                    throw TooLarge(what, limit);
                await to.WriteAsync(chunk(ByteString.CopyFrom(buffer, 0, read)), http.RequestAborted);
            }
            await to.CompleteAsync();
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException)
        {
            // The node ended the call in the middle of the upload.
        }
    }

    private static ProblemException TooLarge(string what, long limit) =>
        new(ProblemCodes.PayloadTooLarge, $"The {what} is larger than {limit} bytes.");

    private sealed class UnlimitedBody : IRequestSizeLimitMetadata
    {
        public long? MaxRequestBodySize => null;
    }
}
