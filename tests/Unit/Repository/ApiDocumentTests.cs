using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Ravel.Contracts.Api;
using Ravel.ControlPlane;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.Repository;

namespace Ravel.Unit.Repository;

/// <summary>docs/api.md against the server: every endpoint and every problem code, and no other.</summary>
public sealed partial class ApiDocumentTests
{
    private static readonly string Page = File.ReadAllText(SourceTree.PathOf("docs/api.md"));

    [Fact]
    public void Every_endpoint_has_a_row_and_every_row_an_endpoint()
    {
        var documented = EndpointRow().Matches(Page).Select(row => row.Groups[1].Value);

        Assert.Equal(Endpoints().Order(StringComparer.Ordinal), documented.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Every_problem_code_has_a_row_with_its_status()
    {
        var documented = ProblemRow().Matches(Page).Select(row => $"{row.Groups[1].Value} {row.Groups[2].Value}");

        var codes = typeof(ProblemCodes).GetFields(BindingFlags.Public | BindingFlags.Static).Where(field => field.IsLiteral)
            .Select(field => (string)field.GetRawConstantValue()!)
            .Select(code => $"{code} {ProblemCodes.StatusOf(code)}");
        Assert.Equal(codes.Order(StringComparer.Ordinal), documented.Order(StringComparer.Ordinal));
    }

    /// <summary>What the server maps below /v1, without starting it.</summary>
    private static List<string> Endpoints()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Services.AddControlPlane(new ControlPlaneOptions { Database = DatabaseAddress.Sqlite("unused"), NodeSocketPath = "unused", Version = "0" });
        var app = builder.Build();
        app.MapControlPlane();
        return
        [
            .. ((IEndpointRouteBuilder)app).DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>()
                .Select(endpoint => (Path: "/" + endpoint.RoutePattern.RawText!.Trim('/').Replace("**", "", StringComparison.Ordinal), endpoint.Metadata))
                .Where(endpoint => endpoint.Path.StartsWith("/v1/", StringComparison.Ordinal))
                .SelectMany(endpoint => endpoint.Metadata.GetRequiredMetadata<IHttpMethodMetadata>().HttpMethods.Select(method => $"{method} {endpoint.Path}")),
        ];
    }

    [GeneratedRegex("""^\| `([A-Z]+ /v1/[^`]+)` \|""", RegexOptions.Multiline)]
    private static partial Regex EndpointRow();

    [GeneratedRegex("""^\| `([a-z-]+)` \| (\d{3}) \|""", RegexOptions.Multiline)]
    private static partial Regex ProblemRow();
}
