using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Tokens;

namespace Ravel.ControlPlane.Namespaces;

internal static class NamespaceEndpoints
{
    public static IServiceCollection AddNamespaces(this IServiceCollection services) => services.AddSingleton<NamespaceStore>();

    public static void MapNamespaces(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/namespaces", ListAsync).WithSummary("List the namespaces this token can see.");
        v1.MapPost("/namespaces", CreateAsync).WithSummary("Make a namespace (administrator).");
        v1.MapGet("/namespaces/{name}", GetAsync).WithSummary("Show a namespace.");
        v1.MapDelete("/namespaces/{name}", DeleteAsync).WithSummary("Delete an empty namespace and its tokens (administrator).");
    }

    private static async Task<Ok<NamespaceList>> ListAsync(HttpContext http, NamespaceStore namespaces) =>
        TypedResults.Ok(new NamespaceList(await namespaces.ListAsync(http.Caller().Namespace, http.RequestAborted)));

    private static async Task<Created<Namespace>> CreateAsync(CreateNamespaceRequest request, HttpContext http, NamespaceStore namespaces)
    {
        http.Caller().RequireAdministrator();
        Names.Check("name", request.Name);
        return TypedResults.Created($"/v1/namespaces/{request.Name}", await namespaces.CreateAsync(request.Name, http.RequestAborted));
    }

    private static async Task<Ok<Namespace>> GetAsync(string name, HttpContext http, NamespaceStore namespaces) =>
        TypedResults.Ok(await namespaces.GetAsync(http.Caller().TenantOf(name), http.RequestAborted));

    private static async Task<NoContent> DeleteAsync(string name, HttpContext http, NamespaceStore namespaces)
    {
        http.Caller().RequireAdministrator();
        await namespaces.DeleteAsync(name, http.RequestAborted);
        return TypedResults.NoContent();
    }
}
