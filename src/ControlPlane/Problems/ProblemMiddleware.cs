using Grpc.Core;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;

namespace Ravel.ControlPlane.Problems;

/// <summary>
/// Turns every failure of the pipeline behind it into a problem: exceptions, and answers that the framework left empty (no such
/// path, wrong method, wrong media type).
/// </summary>
internal sealed class ProblemMiddleware(RequestDelegate next, ILogger<ProblemMiddleware> log)
{
    public async Task InvokeAsync(HttpContext http)
    {
        // gRPC of another role in this process has its own way to say what went wrong.
        if (http.Request.ContentType?.StartsWith("application/grpc", StringComparison.OrdinalIgnoreCase) == true)
        {
            await next(http);
            return;
        }

        try
        {
            await next(http);
        }
        catch (Exception e) when (http.RequestAborted.IsCancellationRequested && e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled })
        {
            return;
        }
        catch (Exception e)
        {
            var problem = ProblemMapper.FromException(e, http.Request.Path);
            if (problem.Status >= 500 && problem.Code == ProblemCodes.Internal)
                log.LogError(e, "{Method} {Path} failed", http.Request.Method, http.Request.Path);
            if (http.Response.HasStarted)
            {
                // Too late for a problem: cutting the connection is the only honest end of a half-sent answer.
                http.Abort();
                return;
            }
            http.Response.Clear();
            await WriteAsync(http, problem);
            return;
        }

        if (!http.Response.HasStarted && http.Response.ContentLength is null && http.Response.ContentType is null
            && ProblemMapper.FromStatus(http.Response.StatusCode, http.Request.Method, http.Request.Path) is { } refused)
            await WriteAsync(http, refused);
    }

    public static async Task WriteAsync(HttpContext http, Problem problem)
    {
        http.Response.StatusCode = problem.Status;
        if (problem.Status == StatusCodes.Status401Unauthorized)
            http.Response.Headers.WWWAuthenticate = "Bearer realm=\"ravel\"";
        await http.Response.WriteAsJsonAsync(problem, ApiJson.Default.Problem, "application/problem+json", http.RequestAborted);
    }
}
