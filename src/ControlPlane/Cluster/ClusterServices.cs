using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Trust;

namespace Ravel.ControlPlane.Cluster;

/// <summary>
/// The hub of a server: a web application of its own beside the API, so that neither answers on the other's port. It uses the API's
/// services, which therefore come first: <c>EnsureBootstrapAsync</c>, then <c>UseHub</c> and <c>AddHub</c>, then <c>MapHub</c>.
/// </summary>
public static class ClusterServices
{
    private const int MaxMessage = 64 << 10;
    private static readonly TimeSpan HandshakeTimeout = TimeSpan.FromSeconds(5);

    internal static IServiceCollection AddCluster(this IServiceCollection services, HubOptions? options)
    {
        services.AddSingleton<MemberStore>();
        if (options is null)
            return services;
        return services
            .AddSingleton(options)
            .AddSingleton<ClusterAuthority>()
            .AddSingleton<INodeRoutes, DirectoryRoutes>()
            .AddSingleton<NodePresence>()
            .AddHostedService(s => s.GetRequiredService<NodePresence>())
            .AddSingleton<NodeHubService>();
    }

    /// <summary>Serves the hub there: HTTP/2 over TLS; callers show a certificate of a node, or none.</summary>
    /// <param name="listen">The hub's port.</param>
    /// <param name="server">Services of the API.</param>
    public static void UseHub(this ListenOptions listen, IServiceProvider server)
    {
        var cluster = server.GetRequiredService<ClusterAuthority>();
        listen.Protocols = HttpProtocols.Http2;
        listen.UseHttps(new TlsHandshakeCallbackOptions
        {
            HandshakeTimeout = HandshakeTimeout,
            OnConnection = _ => ValueTask.FromResult(PeerTls.Called(
                cluster.Own,
                certificate => certificate is null || cluster.Verifier.Caller(certificate) is { Role: PeerRole.Node })),
        });
    }

    public static IServiceCollection AddHub(this IServiceCollection services, IServiceProvider server)
    {
        services.AddGrpc(grpc =>
        {
            grpc.MaxReceiveMessageSize = MaxMessage;
            grpc.MaxSendMessageSize = MaxMessage;
        });
        return services.AddSingleton(server.GetRequiredService<NodeHubService>());
    }

    public static void MapHub(this WebApplication hub) => hub.MapGrpcService<NodeHubService>();

    /// <summary>From now on nodes are told to call this server at <paramref name="address"/>: https://ADDRESS:PORT.</summary>
    public static void AdvertiseHub(this IServiceProvider server, string address)
    {
        var presence = server.GetRequiredService<NodePresence>();
        presence.OwnHub = address;
        presence.LookSoon();
    }
}
