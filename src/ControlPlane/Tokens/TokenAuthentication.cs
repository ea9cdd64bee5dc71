using Microsoft.AspNetCore.Http;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Tokens;

/// <summary>
/// Who asks, found out from the path and the header alone: before routing, so that without a token nothing is revealed, no body is
/// read and no work is done.
/// </summary>
internal sealed class TokenAuthentication(RequestDelegate next, TokenStore tokens)
{
    private const string Scheme = "Bearer ";

    /// <summary>The one path that answers without a token (and says less).</summary>
    private static readonly PathString Open = "/v1/server";

    public async Task InvokeAsync(HttpContext http)
    {
        // Case-insensitive, because routing is.
        if (!http.Request.Path.StartsWithSegments("/v1", StringComparison.OrdinalIgnoreCase))
        {
            await next(http);
            return;
        }

        var header = http.Request.Headers.Authorization.ToString();
        if (header.Length == 0 && http.Request.Path.Equals(Open, StringComparison.OrdinalIgnoreCase))
        {
            await next(http);
            return;
        }
        if (!header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
            throw new ProblemException(ProblemCodes.Unauthorized, "This needs a token: Authorization: Bearer rvl_….");
        var caller = await tokens.FindAsync(header[Scheme.Length..].Trim(), http.RequestAborted)
            ?? throw new ProblemException(ProblemCodes.Unauthorized, "This token is not known here; it may have been revoked.");
        http.Features.Set(caller);
        await next(http);
    }
}
