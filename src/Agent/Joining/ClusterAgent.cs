using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Trust;

namespace Ravel.Agent.Joining;

/// <summary>
/// An agent that is one of many: <c>AddClusterAgent</c>, <c>UseNode</c> where it listens, <c>JoinAsync</c> on the started host, then
/// <c>AnnounceAsync</c> for as long as it runs.
/// </summary>
public static class ClusterAgent
{
    private static readonly TimeSpan HandshakeTimeout = TimeSpan.FromSeconds(5);

    /// <summary>After <see cref="AgentServices.AddAgent"/>.</summary>
    public static IServiceCollection AddClusterAgent(this IServiceCollection services, ClusterOptions options) => services
        .AddSingleton(options)
        .AddSingleton(s => new NodeIdentityFile(s.GetRequiredService<AgentOptions>().AgentDirectory))
        .AddSingleton<HubLink>();

    /// <summary>Serves the node there, to servers of its cluster alone. Nobody gets in before this host has joined.</summary>
    public static void UseNode(this ListenOptions listen)
    {
        var link = listen.ApplicationServices.GetRequiredService<HubLink>();
        listen.Protocols = HttpProtocols.Http2;
        listen.UseHttps(new TlsHandshakeCallbackOptions
        {
            HandshakeTimeout = HandshakeTimeout,
            OnConnection = _ => ValueTask.FromResult(PeerTls.Called(link.Own, link.IsServer)),
        });
    }

    /// <summary>Makes sure that this host has joined. The agent has started.</summary>
    /// <exception cref="JoinException">It cannot, and trying again does not help.</exception>
    public static Task JoinAsync(this IServiceProvider services, CancellationToken cancellationToken) =>
        services.GetRequiredService<HubLink>().JoinAsync(services.GetRequiredService<NodeAgent>().NodeId, cancellationToken);

    /// <summary>Says that this node is there until cancelled.</summary>
    /// <param name="services">Of the agent that has joined.</param>
    /// <param name="address">https://ADDRESS:PORT where servers reach it.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static Task AnnounceAsync(this IServiceProvider services, string address, CancellationToken cancellationToken)
    {
        var agent = services.GetRequiredService<NodeAgent>();
        return services.GetRequiredService<HubLink>().RunAsync(() => NodeDescription.Of(agent), address, cancellationToken);
    }
}
