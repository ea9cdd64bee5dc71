using System.Net;
using Ravel.Agent.Hosting;
using Ravel.Agent.Joining;
using Ravel.Agent.Journal;
using Ravel.Agent.Networking;
using Ravel.Images;
using Ravel.Linux.Processes;
using Ravel.Vmm;

namespace Ravel.Daemon;

/// <summary>
/// <c>raveld agent</c>: this host as a node of a cluster:
/// <list type="number">
/// <item>claim the host slot, start the agent: it adopts what is running before anything else;</item>
/// <item>join, unless that was done before;</item>
/// <item>announce the node until SIGTERM; machines run on then, and are adopted by the next agent.</item>
/// </list>
/// </summary>
internal static class AgentCommand
{
    public static async Task<int> RunAsync(string[] args)
    {
        if (!SettingSources.TryLoad(args, out var sources, out var rest, out var error) || !AgentCommandOptions.TryParse(rest, sources, out var options, out error))
            return Refuse(error, Usage.ExitCode);
        if (!Environment.IsPrivilegedProcess)
            return Refuse("raveld agent: making networks and control groups takes root; run it with sudo", 1);
        NativeHeap.LimitArenas(2);
        using var stop = new StopSignals();
        try
        {
            var data = options.Host.DataDirectory;
            Directory.CreateDirectory(data, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            using var slot = await HostSlot.ClaimAsync(new HostSlotOptions { DataDirectory = data }, TimeProvider.System, CancellationToken.None);
            await ServeAsync(options, slot, stop);
            return 0;
        }
        catch (Exception e) when (e is JoinException or HostSlotException or VmmException or ImageException or NetworkException or JournalException
                                      or IOException or UnauthorizedAccessException or ArgumentException)
        {
            return Refuse($"raveld agent: {e.Message}", 1);
        }
    }

    private static async Task ServeAsync(AgentCommandOptions options, HostSlot slot, StopSignals stop)
    {
        await using var agent = await Applications.BuildAgentAsync(
            options.Host,
            slot,
            kestrel => kestrel.Listen(options.Listen, listen => listen.UseNode()),
            agent => agent with { Region = options.Region, Zone = options.Zone, Labels = options.Labels, WaitsForAdmission = true },
            options.Cluster);
        await agent.StartAsync();
        await RunCommand.SweepAsync(slot);

        using var leaving = new CancellationTokenSource();
        var ending = Task.WhenAny(stop.Came, Applications.StoppingAsync(agent));
        var belonging = BelongAsync(agent, options, leaving.Token);
        await Task.WhenAny(ending, belonging);
        await leaving.CancelAsync();
        await belonging;
        await agent.StopAsync();
        var network = agent.Services.GetRequiredService<NodeNetwork>();
        if (network.IsEmpty)
        {
            await network.RemoveEverythingAsync(CancellationToken.None);
            await slot.ReleaseAsync(TimeProvider.System);
        }
    }

    private static async Task BelongAsync(WebApplication agent, AgentCommandOptions options, CancellationToken leaving)
    {
        try
        {
            await agent.Services.JoinAsync(leaving);
        }
        catch (OperationCanceledException) when (leaving.IsCancellationRequested)
        {
            return;
        }
        var port = new Uri(Applications.Address(agent)).Port;
        var address = options.Advertise
            ?? Addresses.Advertised(new IPEndPoint(options.Listen.Address, port), options.Cluster.Join)
            ?? throw new IOException("No address of this host is known that servers could reach; say it with --advertise https://ADDRESS:7719.");
        agent.Logger.LogInformation("Ravel {Version} serves its node at {Address}", DaemonVersion.Text, address);
        await agent.Services.AnnounceAsync(address, leaving);
    }

    private static int Refuse(string message, int exitCode)
    {
        Console.Error.WriteLine(message);
        return exitCode;
    }
}
