using System.Text.Json;
using Grpc.Core;
using Microsoft.AspNetCore.Http;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Problem = Ravel.Contracts.Api.Problem;

namespace Ravel.ControlPlane.Problems;

/// <summary>The one mapper from what went wrong to what the caller is told. Pure; never shows a stack trace.</summary>
internal static class ProblemMapper
{
    public static Problem Create(string code, string detail, string? instance = null) => new()
    {
        Title = Title(code),
        Status = ProblemCodes.StatusOf(code),
        Detail = detail,
        Code = code,
        Instance = instance,
        Error = detail,
    };

    public static Problem FromException(Exception exception, string? instance) => exception switch
    {
        ProblemException e => Create(e.Code, e.Message, instance),
        BadHttpRequestException e => FromBadRequest(e, instance),
        JsonException e => FromJson(e, instance),
        RpcException e => FromNode(e, instance),
        _ => Create(ProblemCodes.Internal, "The server failed to handle this request; its log has the cause.", instance),
    };

    /// <summary>An answer that was refused before any endpoint ran, by its status.</summary>
    public static Problem? FromStatus(int status, string method, string path) => status switch
    {
        StatusCodes.Status404NotFound => Create(ProblemCodes.NotFound, $"There is nothing at {path}; /openapi/v1.json lists what there is.", path),
        StatusCodes.Status405MethodNotAllowed => Create(ProblemCodes.MethodNotAllowed, $"{path} does not take {method}; the Allow header lists what it takes.", path),
        StatusCodes.Status415UnsupportedMediaType => Create(ProblemCodes.UnsupportedMediaType, $"{path} does not take this Content-Type; send application/json.", path),
        StatusCodes.Status413PayloadTooLarge => Create(ProblemCodes.PayloadTooLarge, "The request body is too large.", path),
        StatusCodes.Status401Unauthorized => Create(ProblemCodes.Unauthorized, "This needs a token: Authorization: Bearer rvl_….", path),
        StatusCodes.Status403Forbidden => Create(ProblemCodes.Forbidden, "This token is not allowed to do this.", path),
        >= 500 => Create(ProblemCodes.Internal, "The server failed to handle this request; its log has the cause.", path),
        >= 400 => Create(ProblemCodes.InvalidRequest, "The request is not valid HTTP for this path.", path),
        _ => null,
    };

    /// <summary>What a call to a node ended in: its code and a sentence.</summary>
    public static (string Code, string Message) Refusal(RpcException exception)
    {
        var code = exception.Trailers.GetValue(NodeTrailers.ProblemCode);
        if (code is not null && IsKnown(code))
            return (code, exception.Status.Detail);
        if (TryReadDetail(exception.Status.Detail) is { } said)
            return said;
        return exception.StatusCode switch
        {
            StatusCode.Unavailable => (ProblemCodes.NodeUnavailable, "The node does not answer; see 'ravel doctor' and the log of raveld."),
            StatusCode.DeadlineExceeded => (ProblemCodes.Timeout, "The node did not answer in time."),
            StatusCode.ResourceExhausted => (ProblemCodes.InsufficientCapacity, exception.Status.Detail),
            StatusCode.InvalidArgument => (ProblemCodes.InvalidRequest, exception.Status.Detail),
            StatusCode.NotFound => (ProblemCodes.NotFound, exception.Status.Detail),
            StatusCode.FailedPrecondition => (ProblemCodes.IllegalState, exception.Status.Detail),
            _ => (ProblemCodes.Internal, "The node failed to handle this request; its log has the cause."),
        };
    }

    private static Problem FromNode(RpcException exception, string? instance)
    {
        var (code, message) = Refusal(exception);
        return Create(code, message, instance);
    }

    /// <summary>Where trailers are lost (a proxy), the detail may say it: the code alone, or the code, a colon and the sentence.</summary>
    private static (string Code, string Message)? TryReadDetail(string detail)
    {
        var colon = detail.IndexOf(':', StringComparison.Ordinal);
        var head = colon < 0 ? detail : detail[..colon];
        if (!IsKnown(head))
            return null;
        return (head, colon < 0 ? $"The node refused: {head}." : detail[(colon + 1)..].Trim());
    }

    /// <summary>Codes outside the catalogue map to 500; only <c>internal</c> and the failures of a machine do inside it.</summary>
    private static bool IsKnown(string code) =>
        ProblemCodes.StatusOf(code) != 500 || code is ProblemCodes.Internal or ProblemCodes.VmmFailed or ProblemCodes.GuestFailed;

    private static Problem FromBadRequest(BadHttpRequestException exception, string? instance)
    {
        if (exception.InnerException is JsonException json)
            return FromJson(json, instance);
        return exception.StatusCode switch
        {
            StatusCodes.Status415UnsupportedMediaType =>
                Create(ProblemCodes.UnsupportedMediaType, "The body must be JSON: send Content-Type: application/json.", instance),
            StatusCodes.Status413PayloadTooLarge =>
                Create(ProblemCodes.PayloadTooLarge, "The request body is too large.", instance),
            _ => Create(ProblemCodes.InvalidRequest, exception.Message, instance),
        };
    }

    private static Problem FromJson(JsonException exception, string? instance)
    {
        // The reader's own exception inside means that the text is not JSON; without it, JSON of the wrong shape.
        if (exception.InnerException is JsonException)
            return Create(ProblemCodes.MalformedJson, $"The body is not JSON: line {exception.LineNumber + 1}, byte {exception.BytePositionInLine}.", instance);
        var message = exception.Message;
        // The serializer names CLR types; callers know only their document.
        const string Missing = "missing required properties including: ";
        var missing = message.IndexOf(Missing, StringComparison.Ordinal);
        if (missing >= 0)
        {
            var names = message[(missing + Missing.Length)..].TrimEnd('.');
            return Create(ProblemCodes.InvalidRequest, $"The body lacks {names}{At(exception.Path)}.", instance);
        }
        return Create(ProblemCodes.InvalidRequest, $"The body has a value of the wrong type{At(exception.Path)}.", instance);
    }

    private static string At(string? path) => path is null or "$" ? "" : $" at {path.TrimStart('$', '.')}";

    private static string Title(string code)
    {
        var words = code.Replace('-', ' ');
        return char.ToUpperInvariant(words[0]) + words[1..];
    }
}
