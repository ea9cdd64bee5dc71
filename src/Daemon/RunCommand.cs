using System.Data.Common;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Ravel.Agent.Hosting;
using Ravel.Agent.Journal;
using Ravel.Agent.Networking;
using Ravel.ControlPlane;
using Ravel.ControlPlane.Storage;
using Ravel.Images;
using Ravel.Linux.Processes;
using Ravel.Vmm;

namespace Ravel.Daemon;

/// <summary>
/// <c>raveld run</c>: the roles of one host. Agent and server are two web applications, so that the node's RPCs are served
/// on its Unix socket and nowhere else:
/// <list type="number">
/// <item>claim the host slot (one raveld per data directory);</item>
/// <item>start the agent: it adopts what is running before it accepts work;</item>
/// <item>give back the slots of ravelds that were killed with nothing running: machines that run do not wait for that;</item>
/// <item>bring the database up to date, start the server, write <c>client.json</c>;</item>
/// <item>until SIGTERM or a shutdown over the API; what still runs then runs on, and is adopted by the next raveld.</item>
/// </list>
/// </summary>
internal static class RunCommand
{
    public static async Task<int> RunAsync(string[] args)
    {
        if (!SettingSources.TryLoad(args, out var sources, out var rest, out var error) || !RunOptions.TryParse(rest, sources, out var options, out error))
            return Refuse(error, Usage.ExitCode);
        if (!Environment.IsPrivilegedProcess)
            return Refuse("raveld run: making networks and control groups takes root; run it with sudo", 1);
        NativeHeap.LimitArenas(2);
        DiagnosticSockets.Remove(Environment.GetEnvironmentVariable, Path.GetTempPath(), Environment.ProcessId);
        using var stop = new StopSignals();
        try
        {
            Directory.CreateDirectory(options.DataDirectory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            using var slot = await HostSlot.ClaimAsync(
                new HostSlotOptions { DataDirectory = options.DataDirectory }, TimeProvider.System, CancellationToken.None);
            await ServeAsync(options, slot, stop);
            return 0;
        }
        catch (OperationCanceledException) when (stop.Token.IsCancellationRequested)
        {
            return 0;
        }
        catch (DbException e)
        {
            return Refuse($"raveld run: the database refuses: {e.Message}", 1);
        }
        catch (Exception e) when (e is HostSlotException or VmmException or ImageException or NetworkException or JournalException or IOException
                                      or UnauthorizedAccessException or ArgumentException)
        {
            return Refuse($"raveld run: {e.Message}", 1);
        }
    }

    /// <summary>What other daemons left is not this one's trouble: what cannot be cleared now is, at the next start.</summary>
    internal static async Task SweepAsync(HostSlot slot)
    {
        try
        {
            await slot.SweepOthersAsync(TimeProvider.System, DeadSlot.ClearAsync);
        }
        catch (Exception e) when (e is HostSlotException or IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"raveld: what killed daemons left stays for now: {e.Message}");
        }
    }

    private static async Task ServeAsync(RunOptions options, HostSlot slot, StopSignals stop)
    {
        var nodeSocket = Path.Combine(slot.RunDirectory, "node.sock");
        File.Delete(nodeSocket);
        await using var agent = await Applications.BuildAgentAsync(
            options, slot, kestrel => kestrel.ListenUnixSocket(nodeSocket, listen => listen.Protocols = HttpProtocols.Http2));
        await using var server = BuildServer(options, nodeSocket);
        var bootstrap = await server.Services.EnsureBootstrapAsync(stop.Token);

        await agent.StartAsync();
        await SweepAsync(slot);
        await server.StartAsync();
        // Whoever waits for the file below may ask for a machine at once.
        await server.Services.AwaitNodeAsync(CancellationToken.None);
        await ClientFile.WriteAsync(options.DataDirectory, Applications.Address(server), bootstrap, server.Services);
        server.Logger.LogInformation("Ravel {Version} serves {Address}", DaemonVersion.Text, Applications.Address(server));

        // Of either: a loop that fails ends the application it is in.
        await Task.WhenAny(stop.Came, Applications.StoppingAsync(agent), Applications.StoppingAsync(server));
        await server.StopAsync();
        await agent.StopAsync();
        var network = agent.Services.GetRequiredService<NodeNetwork>();
        if (network.IsEmpty)
        {
            await network.RemoveEverythingAsync(CancellationToken.None);
            await slot.ReleaseAsync(TimeProvider.System);
        }
    }

    private static WebApplication BuildServer(RunOptions options, string nodeSocket)
    {
        var builder = Applications.CreateBuilder();
        var endPoint = options.Listen ?? FreeEndPoint(ClientFile.TryReadEndPoint(options.DataDirectory));
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(endPoint));
        builder.Services.AddControlPlane(new ControlPlaneOptions
        {
            Database = options.Database ?? DatabaseAddress.Sqlite(Path.Combine(options.DataDirectory, "server.db")),
            NodeSocketPath = nodeSocket,
            Version = DaemonVersion.Text,
        });
        builder.Services.AddHostedService<IdleCompaction>();
        var app = builder.Build();
        app.MapControlPlane();
        return app;
    }

    /// <summary>The last address again, so that clients find the server where it was; else the default; else any free port.</summary>
    private static IPEndPoint FreeEndPoint(IPEndPoint? last)
    {
        foreach (var candidate in new[] { last, IPEndPoint.Parse(RunOptions.DefaultListen) })
        {
            if (candidate is not null && IsFree(candidate))
                return candidate;
        }
        return new IPEndPoint(IPAddress.Loopback, 0);
    }

    private static bool IsFree(IPEndPoint endPoint)
    {
        using var probe = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            probe.Bind(endPoint);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static int Refuse(string message, int exitCode)
    {
        Console.Error.WriteLine(message);
        return exitCode;
    }
}
