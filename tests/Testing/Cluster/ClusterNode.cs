using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Ravel.Agent;
using Ravel.Agent.Joining;
using Ravel.Agent.Networking;
using Ravel.Images;
using Ravel.Testing.Agent;
using Ravel.Trust;
using Ravel.Vmm;
using Ravel.Vmm.Fake;

namespace Ravel.Testing.Cluster;

/// <summary>
/// A host of a cluster: the real agent with its real listener and hub link on a loopback port, above fakes of VMM, images and network. Its
/// directory outlives it, so that it can be stopped and started again as the same node.
/// </summary>
internal sealed class ClusterNode : IAsyncDisposable
{
    private readonly CancellationTokenSource _stopping = new();
    private readonly WebApplication _app;
    private Task _announcing = Task.CompletedTask;

    private ClusterNode(WebApplication app) => _app = app;

    public string NodeId => _app.Services.GetRequiredService<NodeAgent>().NodeId;

    public HubLink Link => _app.Services.GetRequiredService<HubLink>();

    public Uri Address => new(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());

    /// <summary>The agent, listening; it has not joined.</summary>
    /// <param name="directory">Of this host.</param>
    /// <param name="join">The hub to join at.</param>
    /// <param name="token">What to join with.</param>
    /// <param name="time">The clock; null: the real one.</param>
    public static async Task<ClusterNode> StartAsync(string directory, Uri? join = null, string? token = null, TimeProvider? time = null)
    {
        Directory.CreateDirectory(directory);
        var bootId = Path.Combine(directory, "boot_id");
        await File.WriteAllTextAsync(bootId, "boot-1\n");
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        if (Environment.GetEnvironmentVariable("RAVEL_TEST_LOG") == "1")
            builder.Logging.AddSimpleConsole();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseNode()));
        builder.Services
            .AddSingleton(time ?? TimeProvider.System)
            .AddSingleton<IVmmDriver>(new FakeVmmDriver(TimeProvider.System))
            .AddSingleton<IImageStore>(new FakeImageStore(Path.Combine(directory, "images")))
            .AddSingleton<INodeNetwork>(new FakeNodeNetwork())
            .AddAgent(new AgentOptions
            {
                DataDirectory = directory,
                RunDirectory = Path.Combine(directory, "run"),
                Cgroup = "0",
                Kernels = new FakeGuestKernels(),
                BootIdFile = bootId,
                Region = "lab",
                Zone = "a",
                Labels = new Dictionary<string, string> { ["disk"] = "fast" },
            })
            .AddClusterAgent(new ClusterOptions
            {
                Join = join,
                Token = token is not null && JoinToken.TryParse(token, out var parsed) ? parsed : null,
            });
        var app = builder.Build();
        app.MapAgent();
        await app.StartAsync();
        return new ClusterNode(app);
    }

    public Task JoinAsync() => _app.Services.JoinAsync(CancellationToken.None);

    public void Announce() => _announcing = _app.Services.AnnounceAsync(Address.ToString(), _stopping.Token);

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _announcing;
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
        _stopping.Dispose();
    }
}
