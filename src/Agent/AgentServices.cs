using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Ravel.Agent;

/// <summary>The agent role in a host.</summary>
public static class AgentServices
{
    /// <summary>
    /// Adds the agent. It needs an <c>IVmmDriver</c>, an <c>IImageStore</c> and an <c>INodeNetwork</c> beside it, and takes its node over
    /// when the host starts, before the host listens.
    /// </summary>
    public static IServiceCollection AddAgent(this IServiceCollection services, AgentOptions options)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddSingleton<NodeAgent>();
        services.AddHostedService(provider => provider.GetRequiredService<NodeAgent>());
        services.AddSingleton<NodeService>();
        services.AddGrpc(grpc =>
        {
            // A specification has up to 2 MiB; archives come in chunks.
            grpc.MaxReceiveMessageSize = 4 * 1024 * 1024;
        });
        return services;
    }

    /// <summary>Maps the agent's gRPC service. Callers are trusted: map it where only the server can reach it.</summary>
    public static IEndpointRouteBuilder MapAgent(this IEndpointRouteBuilder endpoints)
    {
        endpoints.MapGrpcService<NodeService>();
        return endpoints;
    }
}
