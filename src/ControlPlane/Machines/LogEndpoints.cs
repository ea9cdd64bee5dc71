using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Machines;

internal static class LogEndpoints
{
    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    public static void MapLogs(this IEndpointRouteBuilder machine) =>
        machine.MapGet("/logs", LogsAsync)
            .Produces<LogLine>(StatusCodes.Status200OK, NdjsonStream.ContentType)
            .WithSummary("What a machine printed, one JSON object a line; ?follow=true until it has ended.");

    private static async Task LogsAsync(
        string app,
        string id,
        bool? follow,
        uint? tail,
        DateTimeOffset? since,
        [FromQuery(Name = "instance_id")] string? instanceId,
        HttpContext http,
        MachineWaits waits,
        NodeDirectory nodes)
    {
        if (!string.IsNullOrEmpty(instanceId) && !InstanceId.TryParse(instanceId, out _))
            throw ProblemException.Invalid("instance_id must be the id of an instance (a ULID).");
        // Right after a create the node may not know the machine yet: its first lines are worth a moment.
        var (row, _) = await waits.WaitUntilAcceptedAsync(MachineEndpoints.Key(http, app, id), Patience, http.RequestAborted);
        var request = new Rpc.ReadLogsRequest
        {
            MachineId = row.Id,
            Follow = follow ?? false,
            HasTail = tail is not null,
            Tail = tail ?? 0,
            Since = since is null ? null : Timestamp.FromDateTimeOffset(since.Value),
            InstanceId = instanceId ?? "",
        };
        var isDestroyed = row.ObservedState == MachineStates.Destroyed;
        var lines = isDestroyed && nodes.Find(row.NodeId) is null
            ? AsyncEnumerable.Empty<LogLine>()
            : ReadAsync(nodes.Of(row.NodeId).Client, request, isDestroyed, http.RequestAborted);
        // Whoever pages through a log reads as slowly as he likes.
        http.Features.GetRequiredFeature<IHttpMinResponseDataRateFeature>().MinDataRate = null;
        await NdjsonStream.WriteAsync(http, lines, ApiJson.Default.LogLine);
    }

    private static async IAsyncEnumerable<LogLine> ReadAsync(
        Rpc.Node.NodeClient client, Rpc.ReadLogsRequest request, bool isDestroyed, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var stream = client.ReadLogs(request, cancellationToken: cancellationToken);
        while (true)
        {
            try
            {
                if (!await stream.ResponseStream.MoveNext(cancellationToken))
                    yield break;
            }
            catch (RpcException e) when (isDestroyed && e.StatusCode is (StatusCode.NotFound or StatusCode.Unavailable))
            {
                // The node keeps the log of a machine that is gone for a moment only.
                yield break;
            }
            yield return Shown(stream.ResponseStream.Current);
        }
    }

    internal static LogLine Shown(Rpc.LogEntry entry)
    {
        var text = TryDecode(entry.Data.Span);
        return new LogLine
        {
            Timestamp = Rfc3339(entry.At ?? new Timestamp()),
            Stream = entry.Stream,
            Message = text,
            Data = text is null ? entry.Data.ToByteArray() : null,
            InstanceId = entry.InstanceId,
        };
    }

    private static string? TryDecode(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return Strict.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }

    /// <summary>With all nine digits: a DateTimeOffset holds only seven of them.</summary>
    private static string Rfc3339(Timestamp at) =>
        DateTimeOffset.UnixEpoch.AddSeconds(at.Seconds).ToString("yyyy-MM-ddTHH:mm:ss", CultureInfo.InvariantCulture)
        + "." + at.Nanos.ToString("D9", CultureInfo.InvariantCulture) + "Z";
}
