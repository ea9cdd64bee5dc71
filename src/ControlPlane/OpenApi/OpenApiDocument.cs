using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.OpenApi;
using Ravel.Contracts.Ids;

namespace Ravel.ControlPlane.OpenApi;

/// <summary>The machine-readable description of the API, made from the endpoints themselves.</summary>
internal static class OpenApiDocument
{
    public static IServiceCollection AddOpenApiDocument(this IServiceCollection services) =>
        services.AddOpenApi("v1", options =>
        {
            options.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
            options.ShouldInclude = api => api.RelativePath?.StartsWith("v1/", StringComparison.Ordinal) == true;
            options.AddSchemaTransformer((schema, context, _) =>
            {
                // Ids write themselves as strings, which a converter does not tell.
                if (context.JsonTypeInfo.Type == typeof(MachineId))
                {
                    schema.Type = JsonSchemaType.String;
                    schema.Pattern = "^[0-9a-f]{14}$";
                }
                return Task.CompletedTask;
            });
            options.AddDocumentTransformer((document, _, _) =>
            {
                document.Info.Title = "Ravel";
                document.Info.Description = "Machines in the shape of the Fly Machines API. Failures are RFC 9457 problems with a stable code.";
                document.Servers?.Clear();
                return Task.CompletedTask;
            });
        });

    public static void MapOpenApiDocument(this IEndpointRouteBuilder endpoints) => endpoints.MapOpenApi("/openapi/{documentName}.json");
}
