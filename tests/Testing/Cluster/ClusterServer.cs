using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.ControlPlane;
using Ravel.ControlPlane.Cluster;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Storage;
using Ravel.Testing.ControlPlane;

namespace Ravel.Testing.Cluster;

/// <summary>One server of a cluster: API and hub on loopback ports, both real Kestrel.</summary>
internal sealed class ClusterServer : IAsyncDisposable
{
    private readonly WebApplication _api;
    private readonly WebApplication _hub;

    private ClusterServer(WebApplication api, WebApplication hub, BootstrapResult? secrets)
    {
        _api = api;
        _hub = hub;
        Secrets = secrets;
    }

    /// <summary>Null when another server of this database made them.</summary>
    public BootstrapResult? Secrets { get; }

    public Uri Hub => new(AddressOf(_hub));

    public IServiceProvider Services => _api.Services;

    public ClusterAuthority Authority => Services.GetRequiredService<ClusterAuthority>();

    public NodeDirectory Directory => Services.GetRequiredService<NodeDirectory>();

    /// <param name="database">Shared by the servers of a cluster.</param>
    /// <param name="configure">Changes the hub's options.</param>
    /// <param name="time">The clock; null: the real one.</param>
    public static async Task<ClusterServer> StartAsync(DatabaseAddress database, Func<HubOptions, HubOptions>? configure = null, TimeProvider? time = null)
    {
        var options = new HubOptions { Interval = TimeSpan.FromMilliseconds(100), LostAfter = TimeSpan.FromSeconds(1) };
        var builder = NewBuilder();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        builder.Services.AddSingleton(time ?? TimeProvider.System);
        builder.Services.AddControlPlane(new ControlPlaneOptions
        {
            Database = database,
            Version = "0.0.0-test",
            Hub = configure?.Invoke(options) ?? options,
        });
        var api = builder.Build();
        var secrets = await api.Services.EnsureBootstrapAsync(CancellationToken.None);
        api.MapControlPlane();
        await api.StartAsync();

        var hubBuilder = NewBuilder();
        hubBuilder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseHub(api.Services)));
        hubBuilder.Services.AddHub(api.Services);
        var hub = hubBuilder.Build();
        hub.MapHub();
        await hub.StartAsync();
        api.Services.AdvertiseHub(AddressOf(hub));
        return new ClusterServer(api, hub, secrets);
    }

    public HttpClient Client(string secret)
    {
        var client = new HttpClient { BaseAddress = new Uri(AddressOf(_api)) };
        client.DefaultRequestHeaders.Authorization = new System.Net.Http.Headers.AuthenticationHeaderValue("Bearer", secret);
        return client;
    }

    public async Task<NodeJoinToken> NewTokenAsync(string secret, int? seconds = null, string? node = null)
    {
        using var client = Client(secret);
        return await client.PostJsonAsync("/v1/nodes/join-tokens", new CreateJoinTokenRequest(seconds, node), ApiJson.Default.CreateJoinTokenRequest)
            .ReadAsync(ApiJson.Default.NodeJoinToken);
    }

    public async ValueTask DisposeAsync()
    {
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        foreach (var app in new[] { _hub, _api })
        {
            await app.StopAsync(now.Token);
            await app.DisposeAsync();
        }
    }

    private static WebApplicationBuilder NewBuilder()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        // RAVEL_TEST_LOG=1 shows what servers and nodes have to say when a test fails.
        if (Environment.GetEnvironmentVariable("RAVEL_TEST_LOG") == "1")
            builder.Logging.AddSimpleConsole();
        builder.WebHost.UseKestrelHttpsConfiguration();
        return builder;
    }

    private static string AddressOf(WebApplication app) =>
        app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
}
