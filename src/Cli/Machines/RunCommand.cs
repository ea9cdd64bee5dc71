using Ravel.Cli.Errors;
using Ravel.Cli.Images;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary><c>ravel run</c> and <c>ravel create</c>.</summary>
internal static class RunCommand
{
    public static CliCommand Create()
    {
        var options = new RunOptions();
        var detach = CliOptions.Flag("--detach", "Print the machine's id and leave it running", "-d");
        // Known only so that the error can say how it is done here.
        var interactive = CliOptions.Flag("--interactive", "", "-i");
        var tty = CliOptions.Flag("--tty", "", "-t");
        interactive.Hidden = tty.Hidden = true;
        var command = new CliCommand("run", "Run an image as a microVM and show its output")
        {
            Usage = "[OPTIONS] IMAGE [COMMAND [ARG...]]",
            Examples =
            [
                "ravel run --rm debian:12 sh -c 'exit 7'; echo $?      # passes the exit code on",
                "ravel run -d --name web -p 8080:80 nginx              # in the background",
                "ravel run --memory 1g --cpus 2 -e LEVEL=debug IMAGE   # options before the image",
                "ravel run IMAGE ls -l /                               # all after it is the command",
            ],
            PassesThrough = true,
            RunsWorkload = true,
            Run = async session =>
            {
                if (session.Get(interactive) || session.Get(tty))
                {
                    throw CliException.Usage(
                        "run", "a workload gets no standard input and no terminal", "start it with -d, then: ravel exec -it MACHINE sh");
                }
                var request = options.Request(session, skipLaunch: false);
                await PullAsync(session, request.Config);
                // Not cancelled by a signal: half a creation would leave a machine that nobody knows of.
                var machine = await session.Api.CreateMachineAsync(options.AppOf(session), request, CancellationToken.None);
                if (!session.Get(detach))
                    return await new AttachedRun(session, machine).RunAsync();

                var started = await MachineWaits.UntilStartedAsync(session, machine);
                if (session.Json)
                    JsonOutput.Document(session.Terminal, started);
                else
                    session.Terminal.Out.WriteLine(started.Id);
                return 0;
            },
        };
        command.Options.Add(detach);
        options.AddTo(command);
        command.Options.Add(interactive);
        command.Options.Add(tty);
        return command;
    }

    public static CliCommand CreateOnly()
    {
        var options = new RunOptions();
        var command = new CliCommand("create", "Create a machine without starting it")
        {
            Usage = "[OPTIONS] IMAGE [COMMAND [ARG...]]",
            Examples = ["ravel create --name web -p 8080:80 nginx", "ravel start web"],
            PassesThrough = true,
            Run = async session =>
            {
                var request = options.Request(session, skipLaunch: true);
                await PullAsync(session, request.Config);
                var machine = await session.Api.CreateMachineAsync(options.AppOf(session), request, CancellationToken.None);
                if (session.Json)
                    JsonOutput.Document(session.Terminal, machine);
                else
                    session.Terminal.Out.WriteLine(machine.Id);
                return 0;
            },
        };
        options.AddTo(command);
        return command;
    }

    /// <summary>Has the image there first, so that its progress can be seen and its problems come before a machine exists.</summary>
    private static async Task PullAsync(Session session, MachineConfig config)
    {
        // Also with "never", which then only looks: the refusal comes before there is a machine that fails.
        await PullProgressReader.ReadAsync(
            session.Api.PullImageAsync(config.Image, config.PullPolicy, session.Cancelled),
            config.Image,
            await PullView.ForAsync(session.Terminal, quietInPipe: true, session.Cancelled));
    }
}
