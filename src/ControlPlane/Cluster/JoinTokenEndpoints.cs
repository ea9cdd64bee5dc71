using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Tokens;
using Ravel.Trust;

namespace Ravel.ControlPlane.Cluster;

internal static class JoinTokenEndpoints
{
    private static readonly TimeSpan DefaultLifetime = TimeSpan.FromHours(1);
    private static readonly TimeSpan LongestLifetime = TimeSpan.FromDays(7);

    public static void MapJoinTokens(this IEndpointRouteBuilder v1) =>
        v1.MapPost("/nodes/join-tokens", CreateAsync).WithSummary("Make a token with which one host can join; shown this once (administrator).");

    private static async Task<Ok<NodeJoinToken>> CreateAsync(CreateJoinTokenRequest request, HttpContext http, MemberStore members)
    {
        http.Caller().RequireAdministrator();
        if (request.Node is { } node && !PeerIdentity.IsId(node))
            throw ProblemException.Invalid("node must have 1 to 64 letters, digits, '.', '_' and '-'.");
        var lifetime = request.ExpiresInSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : DefaultLifetime;
        if (lifetime < TimeSpan.FromSeconds(1) || lifetime > LongestLifetime)
            throw ProblemException.Invalid($"expires_in_seconds must be 1 to {LongestLifetime.TotalSeconds:0}.");
        if (http.RequestServices.GetService<ClusterAuthority>() is not { } cluster
            || http.RequestServices.GetRequiredService<NodePresence>().OwnHub is not { } hub)
        {
            throw new ProblemException(
                ProblemCodes.IllegalState, "This server is one host's own and takes no others; run 'raveld server' for a cluster (docs/cluster.md).");
        }
        var token = JoinToken.New(CertificateProfile.Fingerprint(cluster.Authority.Certificate));
        var expires = await members.AddTokenAsync(token, lifetime, request.Node, http.RequestAborted);
        return TypedResults.Ok(new NodeJoinToken
        {
            Token = token.Text,
            ExpiresAt = expires,
            Server = hub,
            Command = $"ravel agent --join {hub} --token {token.Text}",
        });
    }
}
