using System.Runtime.InteropServices;
using Ravel.Cli.Connection;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Daemon;

/// <summary><c>ravel up</c>.</summary>
internal static class UpCommand
{
    public static CliCommand Create()
    {
        var detach = CliOptions.Flag("--detach", "Return once it answers, and leave it running", "-d");
        var listen = CliOptions.Text("--listen", "ADDRESS:PORT", "Where the API listens (default 127.0.0.1:7717)");
        var vmm = CliOptions.OneOf("--vmm", "Hypervisor (default qemu) [env: RAVEL_VMM]", "qemu", "firecracker");
        var imageLimit = CliOptions.Text("--image-limit", "SIZE", "Of all images together: 50G, 0 for none (default half of the disk) [env: RAVEL_IMAGE_LIMIT]");
        var command = new CliCommand("up", "Bring Ravel up on this host")
        {
            Usage = "[OPTIONS]",
            Examples =
            [
                "ravel up --detach                   # in the background",
                "ravel up                            # in the foreground; Ctrl-C stops it with its machines",
                "ravel up --data /tmp/two --detach   # another one beside it",
            ],
            Run = async session =>
            {
                var directory = DataDirectory.ForUp(session.Get(GlobalOptions.Data), session.Around);
                if (DaemonProcess.FindRunning(directory) is { } running)
                    return await AlreadyUpAsync(session, directory, running);

                List<string> options = [];
                if (session.Get(listen) is { } address)
                    options.AddRange(["--listen", address]);
                if (session.Get(vmm) is { } driver)
                    options.AddRange(["--vmm", driver]);
                if (session.Get(imageLimit) is { } size)
                    options.AddRange(["--image-limit", size]);
                using var start = DaemonStart.Begin(session, directory, options);
                var client = await start.UntilAnsweringAsync();
                Remember(session, directory);
                return session.Get(detach)
                    ? Report(session, "started", directory, client)
                    : await ForegroundAsync(session, start, directory, client);
            },
        };
        command.Options.Add(detach);
        command.Options.Add(listen);
        command.Options.Add(vmm);
        command.Options.Add(imageLimit);
        return command;
    }

    private static async Task<int> AlreadyUpAsync(Session session, string directory, ClientConfig client)
    {
        if (!await DaemonStart.AnswersAsync(client, session.Cancelled))
        {
            throw new CliException(
                "raveld",
                $"runs (pid {client.Pid}) but {client.Server} does not answer",
                $"see {DaemonStart.LogOf(directory)}; if it hangs: kill -9 {client.Pid} and ravel up again, machines run on");
        }
        Remember(session, directory);
        return Report(session, "already-up", directory, client);
    }

    private static int Report(Session session, string state, string directory, ClientConfig client)
    {
        if (session.Json)
        {
            JsonOutput.Document(
                session.Terminal, new DaemonStatus(state, directory, client.Server, client.Pid, DaemonStart.LogOf(directory)));
            return 0;
        }
        var to = session.Terminal.Out;
        to.WriteLine($"Ravel is {(state == "started" ? "up" : "already up")} at {client.Server} (pid {client.Pid}, data in {directory}).");
        if (state == "started")
        {
            to.WriteLine();
            to.WriteLine("  ravel run IMAGE [COMMAND]    run an image as a microVM");
            to.WriteLine("  ravel ps                     see what runs");
            to.WriteLine("  ravel doctor                 see what this host can and can't do");
            to.WriteLine("  ravel down                   stop the machines and Ravel");
        }
        return 0;
    }

    private static async Task<int> ForegroundAsync(Session session, DaemonStart start, string directory, ClientConfig client)
    {
        using var ended = new CancellationTokenSource();
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        session.Interrupts.Take((_, count) =>
        {
            asked.TrySetResult();
            if (count > 1)
                Environment.Exit(session.Interrupts.ExitCode);
        });
        // The terminal was closed: nobody is left to ask.
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context =>
        {
            context.Cancel = true;
            asked.TrySetResult();
        });

        session.Terminal.Error.WriteLine($"Ravel is up at {client.Server} (pid {client.Pid}, data in {directory}); Ctrl-C stops it with its machines.");
        var log = LogTail.FollowAsync(start.LogPath, start.LogStart, session.Terminal.Error, session.Time, ended.Token);
        var isAsked = false;
        while (DaemonProcess.IsAlive(client))
        {
            if (asked.Task.IsCompleted && !isAsked)
            {
                isAsked = true;
                session.Terminal.Error.WriteLine("ravel: stopping the machines, then Ravel; once more to leave that to it");
                await DownCommand.AskAsync(client, CancellationToken.None);
            }
            var pause = Task.Delay(TimeSpan.FromMilliseconds(200), session.Time);
            await (isAsked ? pause : Task.WhenAny(pause, asked.Task));
        }
        ended.Cancel();
        await log;
        // A daemon that was told to go by `ravel down` elsewhere ends well too.
        if (!isAsked && await ExitedBadlyAsync(start, session.Time))
            throw start.Ended();
        return 0;
    }

    private static async Task<bool> ExitedBadlyAsync(DaemonStart start, TimeProvider time)
    {
        while (!start.HasExited)
            await Task.Delay(TimeSpan.FromMilliseconds(20), time);
        return start.ExitCode != 0;
    }

    private static void Remember(Session session, string directory)
    {
        try
        {
            new ContextFile { DataDirectory = directory }.Write(session.Around);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            session.Terminal.Error.WriteLine(
                $"ravel: {ContextFile.PathOf(session.Around)} cannot be written; give the other commands --data {directory}");
        }
    }
}
