using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Contracts.Api;

namespace Ravel.ControlPlane.Tokens;

internal static class TokenEndpoints
{
    public static IServiceCollection AddTokens(this IServiceCollection services) => services.AddSingleton<TokenStore>();

    public static void MapTokens(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/tokens", ListAsync).WithSummary("List the tokens of a namespace; an administrator without ?namespace= sees all.");
        v1.MapPost("/tokens", CreateAsync).WithSummary("Make a token; its secret is shown this once.");
        v1.MapDelete("/tokens/{id}", DeleteAsync).WithSummary("Revoke a token.");
    }

    private static async Task<Ok<IReadOnlyList<Token>>> ListAsync(HttpContext http, TokenStore tokens)
    {
        var everything = http.Caller().IsAdministrator && string.IsNullOrEmpty(http.Request.Query["namespace"]);
        IReadOnlyList<Token> list = await tokens.ListAsync(everything ? null : http.Tenant(), everything, http.RequestAborted);
        return TypedResults.Ok(list);
    }

    private static async Task<Created<Token>> CreateAsync(CreateTokenRequest request, HttpContext http, TokenStore tokens)
    {
        Names.Check("name", request.Name);
        if (request.Administrator)
            http.Caller().RequireAdministrator();
        var token = await tokens.CreateAsync(request.Name, request.Administrator ? null : http.Tenant(), http.RequestAborted);
        return TypedResults.Created($"/v1/tokens/{token.Id}", token);
    }

    private static async Task<NoContent> DeleteAsync(string id, HttpContext http, TokenStore tokens)
    {
        await tokens.DeleteAsync(id, http.Caller(), http.RequestAborted);
        return TypedResults.NoContent();
    }
}
