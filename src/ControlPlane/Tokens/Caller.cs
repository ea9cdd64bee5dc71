using Microsoft.AspNetCore.Http;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Tokens;

/// <summary>Who asks. <paramref name="Namespace"/> null: an administrator of the cluster.</summary>
internal sealed record Caller(string TokenId, string? Namespace)
{
    public const string DefaultNamespace = "default";

    public bool IsAdministrator => Namespace is null;

    /// <summary>The namespace that an administrator named with <c>?namespace=</c>, else the token's own.</summary>
    /// <exception cref="ProblemException">Another tenant's namespace does not exist for this caller.</exception>
    public string TenantOf(string? requested) => this switch
    {
        { IsAdministrator: true } => string.IsNullOrEmpty(requested) ? DefaultNamespace : requested,
        _ when string.IsNullOrEmpty(requested) || requested == Namespace => Namespace!,
        _ => throw ProblemException.NamespaceNotFound(requested),
    };

    public void RequireAdministrator()
    {
        if (!IsAdministrator)
            throw new ProblemException(ProblemCodes.Forbidden, "Only an administrator's token may do this.");
    }
}

internal static class CallerFeature
{
    public static Caller Caller(this HttpContext http) =>
        http.Features.Get<Caller>() ?? throw new InvalidOperationException("This endpoint was mapped outside the authenticated group.");

    /// <summary>The namespace this request is about.</summary>
    public static string Tenant(this HttpContext http) => http.Caller().TenantOf(http.Request.Query["namespace"]);
}
