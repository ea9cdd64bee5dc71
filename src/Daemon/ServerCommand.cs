using System.Data.Common;
using System.Net;
using Ravel.ControlPlane;
using Ravel.ControlPlane.Cluster;
using Ravel.Linux.Files;
using Ravel.Linux.Processes;

namespace Ravel.Daemon;

/// <summary>
/// <c>raveld server</c>: one of the servers of a cluster. API and hub are two web applications, so that neither answers on the other's
/// port. It needs no root and keeps nothing but <c>client.json</c> (and, without PostgreSQL, its database).
/// </summary>
internal static class ServerCommand
{
    public static async Task<int> RunAsync(string[] args)
    {
        if (!SettingSources.TryLoad(args, out var sources, out var rest, out var error) || !ServerCommandOptions.TryParse(rest, sources, out var options, out error))
            return Refuse(error, Usage.ExitCode);
        NativeHeap.LimitArenas(2);
        using var stop = new StopSignals();
        try
        {
            Directory.CreateDirectory(options.DataDirectory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            using var only = FileLock.TryAcquire(Path.Combine(options.DataDirectory, "server.lock"))
                ?? throw new IOException($"{options.DataDirectory} is another server's, which runs; give another --data.");
            await ServeAsync(options, stop);
            return 0;
        }
        catch (OperationCanceledException) when (stop.Token.IsCancellationRequested)
        {
            return 0;
        }
        catch (DbException e)
        {
            return Refuse($"raveld server: the database refuses: {e.Message}", 1);
        }
        catch (Exception e) when (e is ClusterKeyException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            return Refuse($"raveld server: {e.Message}", 1);
        }
    }

    private static async Task ServeAsync(ServerCommandOptions options, StopSignals stop)
    {
        await using var server = BuildServer(options);
        var bootstrap = await server.Services.EnsureBootstrapAsync(stop.Token);
        await using var hub = BuildHub(options, server.Services);
        await server.StartAsync();
        await hub.StartAsync();
        var port = new Uri(Applications.Address(hub)).Port;
        var advertised = options.Advertise
            ?? Addresses.Advertised(new IPEndPoint(options.HubListen.Address, port), towards: null)
            ?? throw new IOException("No address of this host is known that others could reach; say it with --advertise https://ADDRESS:7718.");
        server.Services.AdvertiseHub(advertised);
        await ClientFile.WriteForServerAsync(options.DataDirectory, Applications.Address(server), bootstrap, server.Services);
        server.Logger.LogInformation("Ravel {Version} serves {Address}; nodes join at {Hub}", DaemonVersion.Text, Applications.Address(server), advertised);

        await Task.WhenAny(stop.Came, Applications.StoppingAsync(server), Applications.StoppingAsync(hub));
        await hub.StopAsync();
        await server.StopAsync();
    }

    private static WebApplication BuildServer(ServerCommandOptions options)
    {
        var builder = Applications.CreateBuilder();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(options.Listen));
        builder.Services.AddControlPlane(new ControlPlaneOptions
        {
            Database = options.Database,
            Version = DaemonVersion.Text,
            Hub = new HubOptions { AuthoritySecret = options.ClusterKeyFile is { } file ? File.ReadAllBytes(file) : null },
        });
        builder.Services.AddHostedService<IdleCompaction>();
        var app = builder.Build();
        app.MapControlPlane();
        return app;
    }

    private static WebApplication BuildHub(ServerCommandOptions options, IServiceProvider server)
    {
        var builder = Applications.CreateBuilder();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(options.HubListen, listen => listen.UseHub(server)));
        builder.Services.AddHub(server);
        var app = builder.Build();
        app.MapHub();
        return app;
    }

    private static int Refuse(string message, int exitCode)
    {
        Console.Error.WriteLine(message);
        return exitCode;
    }
}
