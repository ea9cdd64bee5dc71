using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Testing.ControlPlane;

namespace Ravel.Integration.ControlPlane;

public sealed partial class OpenApiTests : IAsyncLifetime
{
    private ControlPlaneHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await ControlPlaneHost.StartAsync(withNode: false);

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task The_document_is_OpenAPI_3_1_and_has_every_route()
    {
        using var document = await DocumentAsync();
        Assert.StartsWith("3.1", document.RootElement.GetProperty("openapi").GetString(), StringComparison.Ordinal);
        var described = document.RootElement.GetProperty("paths").EnumerateObject()
            .SelectMany(p => p.Value.EnumerateObject().Select(o => $"{o.Name.ToUpperInvariant()} {p.Name}"))
            .ToHashSet();
        var routes = _host.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
            .Where(e => e.RoutePattern.RawText!.StartsWith("/v1", StringComparison.Ordinal))
            .SelectMany(e => e.Metadata.GetRequiredMetadata<HttpMethodMetadata>().HttpMethods
                .Select(m => $"{m} {e.RoutePattern.RawText!.TrimEnd('/').Replace("{**", "{", StringComparison.Ordinal)}"))
            .ToHashSet();
        Assert.True(routes.Count > 30);
        Assert.Equal(routes.Order(), described.Order());
    }

    [Fact]
    public async Task Every_operation_says_what_it_does()
    {
        using var document = await DocumentAsync();
        foreach (var path in document.RootElement.GetProperty("paths").EnumerateObject())
        {
            foreach (var operation in path.Value.EnumerateObject())
                Assert.True(operation.Value.TryGetProperty("summary", out _), $"{operation.Name} {path.Name} has no summary.");
        }
    }

    [Fact]
    public async Task Names_of_members_are_snake_case_and_ids_are_strings()
    {
        using var document = await DocumentAsync();
        var schemas = document.RootElement.GetProperty("components").GetProperty("schemas");
        foreach (var schema in schemas.EnumerateObject())
        {
            if (!schema.Value.TryGetProperty("properties", out var properties))
                continue;
            foreach (var property in properties.EnumerateObject())
                Assert.True(SnakeCase().IsMatch(property.Name), $"{schema.Name}.{property.Name}");
        }
        var text = schemas.GetProperty("Machine").GetProperty("properties").GetProperty("id").GetRawText();
        Assert.True(text.Contains("\"string\"", StringComparison.Ordinal) || schemas.GetProperty("MachineId").GetRawText().Contains("\"string\"", StringComparison.Ordinal), text);
        Assert.True(schemas.GetProperty("MachineConfig").GetProperty("properties").TryGetProperty("auto_destroy", out _));
    }

    private async Task<JsonDocument> DocumentAsync() => JsonDocument.Parse(await _host.Client.GetStringAsync("/openapi/v1.json"));

    [GeneratedRegex("^[a-z0-9]+(_[a-z0-9]+)*$")]
    private static partial Regex SnakeCase();
}
