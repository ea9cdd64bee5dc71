using Ravel.Cli.Errors;
using Ravel.Cli.Images;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Cli.Processes;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary><c>ravel run</c> and <c>ravel create</c>.</summary>
internal static class RunCommand
{
    public static CliCommand Create()
    {
        var options = new RunOptions();
        var detach = CliOptions.Flag("--detach", "Print the machine's id and leave it running", "-d");
        var count = CliOptions.Parsed<int?>("--count", "N", "Run so many, all of them or none; only with -d", text => Values.Count(text), "-n");
        var command = new CliCommand("run", "Run an image as a microVM and show its output")
        {
            Usage = "[OPTIONS] IMAGE [COMMAND [ARG...]]",
            Examples =
            [
                "ravel run --rm debian:12 sh -c 'exit 7'; echo $?      # passes the exit code on",
                "ravel run -d --name web -p 8080:80 nginx              # in the background",
                "ravel run --memory 1g --cpus 2 -e LEVEL=debug IMAGE   # options before the image",
                "ravel run -d -n 10 --name job IMAGE                   # job-1 to job-10, spread over the nodes",
                "ravel run -it --rm debian:12 bash                     # a shell; Ctrl-P Ctrl-Q leaves it running",
                "ravel run IMAGE ls -l /                               # all after it is the command",
            ],
            PassesThrough = true,
            RunsWorkload = true,
            Run = async session =>
            {
                var (stdin, tty) = (session.Get(options.Interactive), session.Get(options.Tty));
                if (!session.Get(detach))
                    RawTerminal.Require("run", stdin, tty, "leave out -t");
                var request = options.Request(session, skipLaunch: false);
                if (session.Get(count) is { } many)
                {
                    return session.Get(detach)
                        ? await RunManyAsync(session, options, request, many)
                        : throw CliException.Usage("--count", "only machines that nobody is attached to can be several", "add -d");
                }
                await PullAsync(session, request.Config);
                await options.EnsureVolumesAsync(session);
                // Not cancelled by a signal: half a creation would leave a machine that nobody knows of.
                var machine = await session.Api.CreateMachineAsync(options.AppOf(session), request, session.Get(options.WaitForCapacity), CancellationToken.None);
                if (!session.Get(detach))
                {
                    await using var input = stdin || tty ? new WorkloadInput(session, machine, stdin, tty) : null;
                    return await new AttachedRun(session, machine, input).RunAsync();
                }

                var started = await MachineWaits.UntilStartedAsync(session, machine);
                if (session.Json)
                    JsonOutput.Document(session.Terminal, started);
                else
                    session.Terminal.Out.WriteLine(started.Id);
                return 0;
            },
        };
        command.Options.Add(detach);
        command.Options.Add(count);
        options.AddTo(command);
        return command;
    }

    private static async Task<int> RunManyAsync(Session session, RunOptions options, CreateMachineRequest request, int count)
    {
        var many = new CreateMachinesRequest { Count = count, Name = request.Name, Region = request.Region, Config = request.Config };
        var machines = await session.Api.CreateMachinesAsync(options.AppOf(session), many, session.Get(options.WaitForCapacity), CancellationToken.None);
        var started = new List<Machine>();
        foreach (var machine in machines)
            started.Add(await MachineWaits.UntilStartedAsync(session, machine));
        if (session.Json)
            JsonOutput.Document(session.Terminal, started);
        else
            started.ForEach(machine => session.Terminal.Out.WriteLine(machine.Id));
        return 0;
    }

    public static CliCommand Attach()
    {
        var name = MachineArguments.One();
        var command = new CliCommand("attach", "Show a workload's output from now on, and give it your standard input")
        {
            Usage = "MACHINE",
            Examples = ["ravel attach shell     # Ctrl-P Ctrl-Q leaves it running"],
            RunsWorkload = true,
            Run = async session =>
            {
                var machine = await session.ResolveAsync(session.Get(name));
                if (machine.State is not (MachineStates.Started or MachineStates.Starting))
                    throw new CliException(machine.Name, $"is {machine.State}", $"run: ravel start {machine.Name}");
                var stdin = machine.Config.Init?.Stdin ?? false;
                var tty = machine.Config.Init?.Tty ?? false;
                RawTerminal.Require("attach", stdin, tty, $"attach from one, or only watch: ravel logs -f {machine.Name}");
                await using var input = stdin || tty ? new WorkloadInput(session, machine, stdin, tty) : null;
                return await new AttachedRun(session, machine, input, fromNow: true).RunAsync();
            },
        };
        command.Arguments.Add(name);
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
                await options.EnsureVolumesAsync(session);
                var machine = await session.Api.CreateMachineAsync(options.AppOf(session), request, session.Get(options.WaitForCapacity), CancellationToken.None);
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
        try
        {
            // Also with "never", which then only looks: the refusal comes before there is a machine that fails.
            await PullProgressReader.ReadAsync(
                session.Api.PullImageAsync(config.Image, config.PullPolicy, session.Cancelled),
                config.Image,
                await PullView.ForAsync(session.Terminal, quietInPipe: true, session.Cancelled));
        }
        catch (ProblemException e) when (e.Problem.Code == ProblemCodes.NodeRequired)
        {
            // Of several nodes the one that gets the machine pulls it, once it is known which.
        }
    }
}
