using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http.Json;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Apps;
using Ravel.ControlPlane.Cluster;
using Ravel.ControlPlane.Images;
using Ravel.ControlPlane.Kernels;
using Ravel.ControlPlane.Machines;
using Ravel.ControlPlane.Namespaces;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.OpenApi;
using Ravel.ControlPlane.Placement;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Recovery;
using Ravel.ControlPlane.Storage;
using Ravel.ControlPlane.Tokens;
using Ravel.ControlPlane.Volumes;

namespace Ravel.ControlPlane;

/// <summary>
/// The server role in a host: <c>AddControlPlane</c>, then <c>EnsureBootstrapAsync</c> on the built services, then
/// <c>MapControlPlane</c>, then run.
/// </summary>
public static class ControlPlaneExtensions
{
    /// <summary>Of a JSON body; a machine's configuration stays far below.</summary>
    private const long MaxBodyBytes = 1 << 20;

    /// <exception cref="ArgumentException">An option that no server could run with.</exception>
    public static IServiceCollection AddControlPlane(this IServiceCollection services, ControlPlaneOptions options)
    {
        options.Validate();
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddDatabase(options.Database);
        services.AddPlacement();
        services.AddTokens().AddNamespaces().AddApps().AddMachines().AddVolumes().AddNodes().AddCluster(options.Hub).AddRecovery().AddOpenApiDocument();
        services.AddSingleton<IStartupFilter, Pipeline>();
        services.Configure<RouteHandlerOptions>(o => o.ThrowOnBadRequest = true);
        services.Configure<JsonOptions>(o =>
        {
            o.SerializerOptions.TypeInfoResolverChain.Insert(0, ApiJson.Default);
            // The names of a generated context come from the options it is used with.
            o.SerializerOptions.PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower;
            o.SerializerOptions.DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull;
            o.SerializerOptions.NumberHandling = JsonNumberHandling.Strict;
        });
        return services;
    }

    /// <summary>Maps <c>/v1</c> and <c>/openapi/v1.json</c>.</summary>
    public static void MapControlPlane(this IEndpointRouteBuilder endpoints)
    {
        var v1 = endpoints.MapGroup("/v1").WithMetadata(new BodyLimit());
        v1.MapServer();
        v1.MapJoinTokens();
        v1.MapNamespaces();
        v1.MapTokens();
        v1.MapApps();
        v1.MapMachines();
        v1.MapVolumes();
        v1.MapImages();
        v1.MapKernels();
        v1.MapNodes();
        endpoints.MapOpenApiDocument();
    }

    /// <summary>What stands before every endpoint, in order: problems around everything, then who asks.</summary>
    private sealed class Pipeline : IStartupFilter
    {
        public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) => app =>
        {
            app.UseMiddleware<ProblemMiddleware>();
            app.UseWebSockets();
            app.UseMiddleware<TokenAuthentication>();
            next(app);
        };
    }

    private sealed class BodyLimit : IRequestSizeLimitMetadata
    {
        public long? MaxRequestBodySize => MaxBodyBytes;
    }
}
