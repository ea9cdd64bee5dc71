using Ravel.Cli.Connection;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Daemon;

/// <summary><c>ravel down</c>.</summary>
internal static class DownCommand
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    public static CliCommand Create() => new("down", "Stop the machines and Ravel on this host")
    {
        Usage = "[OPTIONS]",
        Examples = ["ravel down", "ravel down --data /tmp/two"],
        Run = async session =>
        {
            var directory = DataDirectory.ForUse(session.Get(GlobalOptions.Data), session.Around);
            if (DaemonProcess.FindRunning(directory) is not { } client)
                return Report(session, "not-up", directory, null);

            await AskAsync(client, session.Cancelled);
            using (Spinner.Start(session.Terminal, session.Time, "stopping the machines and raveld"))
            {
                while (DaemonProcess.IsAlive(client))
                    await Task.Delay(Interval, session.Time, session.Cancelled);
            }
            return Report(session, "stopped", directory, client);
        },
    };

    /// <summary>Asks a daemon to stop its machines and itself.</summary>
    /// <exception cref="CliException">It does not listen.</exception>
    public static async Task AskAsync(ClientConfig client, CancellationToken cancellationToken)
    {
        using var api = new ApiClient(new ServerAddress(new Uri(client.Server.TrimEnd('/') + "/"), client.Token), null);
        try
        {
            await api.ShutDownAsync(cancellationToken);
        }
        catch (ProblemException)
        {
            throw;
        }
        catch (CliException e)
        {
            // It may have gone between the look and the question, and then all is as it should be.
            if (DaemonProcess.IsAlive(client))
            {
                throw new CliException(
                    "raveld", $"runs (pid {client.Pid}) but does not answer ({e.Message})", $"to end it alone, leaving its machines: kill {client.Pid}");
            }
        }
    }

    private static int Report(Session session, string state, string directory, ClientConfig? client)
    {
        if (session.Json)
            JsonOutput.Document(session.Terminal, new DaemonStatus(state, directory, client?.Server, client?.Pid));
        else
            session.Terminal.Out.WriteLine(state == "stopped" ? $"Ravel is down (data kept in {directory})." : $"Ravel is not up (data in {directory}).");
        return 0;
    }
}
