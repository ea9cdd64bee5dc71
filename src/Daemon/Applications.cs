using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Ravel.Agent;
using Ravel.Agent.Capacity;
using Ravel.Agent.Hosting;
using Ravel.Agent.Joining;
using Ravel.Agent.Networking;
using Ravel.Agent.WarmStarts;
using Ravel.Images;
using Ravel.Vmm;
using Ravel.Vmm.Boot;
using Ravel.Vmm.Kernels;

namespace Ravel.Daemon;

/// <summary>The web applications that roles are made of.</summary>
internal static class Applications
{
    public static Task StoppingAsync(WebApplication app)
    {
        var stopping = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        app.Lifetime.ApplicationStopping.Register(stopping.SetResult);
        return stopping.Task;
    }

    public static async Task<WebApplication> BuildAgentAsync(
        RunOptions options,
        HostSlot slot,
        Action<KestrelServerOptions> listen,
        Func<AgentOptions, AgentOptions>? configure = null,
        ClusterOptions? cluster = null)
    {
        var builder = CreateBuilder();
        builder.WebHost.ConfigureKestrel(listen);
        var vmm = VmmOptions.FromEnvironment(Environment.GetEnvironmentVariable) with { Driver = options.Vmm };
        var kernels = new GuestKernels(new KernelCatalog(options.KernelDirectory), options.DataDirectory, options.InitPath, TimeProvider.System);
        var images = await ImageStore.OpenAsync(
            new ImageStoreOptions
            {
                DataDirectory = options.DataDirectory,
                MaxBytes = ImageBytes(options),
                Registry = RegistryFile.Load(options.RegistriesFile),
            },
            TimeProvider.System, CancellationToken.None);
        var agent = AgentOptions.For(slot, options.DataDirectory, kernels) with
        {
            WarmStarts = new WarmStartOptions { IsEnabled = options.WarmStart },
            Capacity = new CapacityOptions
            {
                CpuOvercommit = options.CpuOvercommit ?? CapacityOptions.DefaultCpuOvercommit,
                ReservedDiskMib = options.DiskReserve >> 20,
                DiskOvercommit = options.DiskOvercommit,
            },
        };
        builder.Services
            .AddSingleton(TimeProvider.System)
            .AddSingleton(slot)
            .AddSingleton(new NodeNetworkOptions())
            .AddSingleton<NodeNetwork>()
            .AddSingleton<INodeNetwork>(services => services.GetRequiredService<NodeNetwork>())
            .AddSingleton(VmmDrivers.Create(vmm))
            .AddSingleton<IImageStore>(images)
            .AddAgent(configure?.Invoke(agent) ?? agent);
        if (cluster is not null)
        {
            builder.WebHost.UseKestrelHttpsConfiguration();
            builder.Services.AddClusterAgent(cluster);
        }
        var app = builder.Build();
        app.MapAgent();
        return app;
    }

    /// <summary>Half of the disk leaves the other half to machines, for a host of which nothing else is known.</summary>
    private static long? ImageBytes(RunOptions options) => options.ImageLimit switch
    {
        null => new DriveInfo(options.DataDirectory).TotalSize / 2,
        0 => null,
        var bytes => bytes,
    };

    public static WebApplicationBuilder CreateBuilder()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders().AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ ";
            console.UseUtcTimestamp = true;
        });
        builder.Logging.SetMinimumLevel(LogLevel.Information).AddFilter("Microsoft", LogLevel.Warning).AddFilter("Grpc", LogLevel.Warning);
        builder.Services.AddSingleton<IHostLifetime>(StopSignals.Elsewhere);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(5));
        return builder;
    }

    public static string Address(WebApplication server) =>
        server.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
}
