using System.CommandLine;
using Ravel.Cli.Errors;
using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary><c>stop</c>, <c>start</c>, <c>restart</c>, <c>suspend</c>, <c>resume</c>, <c>kill</c>, <c>rm</c> and <c>wait</c>: one thing done to each machine named.</summary>
internal static class LifecycleCommands
{
    public static CliCommand Stop()
    {
        var timeout = StopTimeout();
        var signal = CliOptions.Text("--signal", "SIGNAL", "Signal instead of the machine's own", "-s");
        return ForEach(
            "stop",
            "Stop machines: ask their workload to end, and kill it when its time is up",
            ["ravel stop web", "ravel stop -t 30 web db       # 30 seconds instead of the machine's own time"],
            [timeout, signal],
            async (session, machine) =>
            {
                await session.Api.StopMachineAsync(machine, session.Get(signal), session.Get(timeout), session.Cancelled);
                return await MachineWaits.UntilStoppedAsync(session, machine);
            });
    }

    public static CliCommand Start() => ForEach(
        "start",
        "Start machines that were stopped",
        ["ravel start web"],
        [],
        async (session, machine) =>
        {
            await session.Api.StartMachineAsync(machine, session.Cancelled);
            return await MachineWaits.UntilStartedAsync(session, machine);
        });

    public static CliCommand Restart()
    {
        var timeout = StopTimeout();
        return ForEach(
            "restart",
            "Stop machines and start them again",
            ["ravel restart web"],
            [timeout],
            async (session, machine) =>
            {
                await session.Api.RestartMachineAsync(machine, session.Get(timeout), session.Cancelled);
                return await MachineWaits.UntilStartedAsync(session, machine);
            });
    }

    public static CliCommand Suspend() => ForEach(
        "suspend",
        "Save the memory of running machines and give back what they hold",
        ["ravel suspend web", "ravel resume web                # goes on where it was"],
        [],
        async (session, machine) =>
        {
            await session.Api.SuspendMachineAsync(machine, session.Cancelled);
            return await MachineWaits.UntilSuspendedAsync(session, machine);
        });

    public static CliCommand Resume() => ForEach(
        "resume",
        "Let suspended machines go on from their memory",
        ["ravel resume web"],
        [],
        async (session, machine) =>
        {
            if (machine.State is not (MachineStates.Suspended or MachineStates.Suspending or MachineStates.Started))
                throw new CliException(machine.Name, $"is {machine.State}, not suspended", $"start it: ravel start {machine.Name}");
            await session.Api.StartMachineAsync(machine, session.Cancelled);
            return await MachineWaits.UntilStartedAsync(session, machine);
        });

    public static CliCommand Kill()
    {
        var signal = CliOptions.Text("--signal", "SIGNAL", "Signal to send (default SIGKILL)", "-s");
        return ForEach(
            "kill",
            "Send a signal to the workload of machines",
            ["ravel kill web", "ravel kill -s HUP web         # e.g. to read its configuration again"],
            [signal],
            async (session, machine) =>
            {
                await session.Api.SignalMachineAsync(machine, session.Get(signal) ?? "SIGKILL", session.Cancelled);
                return machine;
            });
    }

    public static CliCommand Remove()
    {
        var force = CliOptions.Flag("--force", "Stop it first if it runs", "-f");
        return ForEach(
            "rm",
            "Remove machines with their writable disks",
            ["ravel rm web", "ravel rm -f web db            # even if they run"],
            [force],
            async (session, machine) =>
            {
                try
                {
                    await session.Api.DeleteMachineAsync(machine, session.Get(force), session.Cancelled);
                }
                catch (ProblemException e) when (e.Problem.Code == ProblemCodes.IllegalState && !session.Get(force))
                {
                    throw new CliException(machine.Name, $"is {machine.State}", $"stop it first, or: ravel rm -f {machine.Name}");
                }
                return await MachineWaits.UntilDestroyedAsync(session, machine);
            });
    }

    public static CliCommand Wait()
    {
        var state = CliOptions.OneOf(
            "--state",
            "State to wait for, instead of the end; prints it",
            MachineStates.Started, MachineStates.Stopped, MachineStates.Suspended, MachineStates.Failed, MachineStates.Destroyed);
        return ForEach(
            "wait",
            "Wait until machines have ended and print their exit codes",
            ["ravel wait job", "ravel wait --state started web db"],
            [state],
            (session, machine) => session.Get(state) is { } wanted
                ? MachineWaits.UntilInAsync(session, machine, wanted)
                : MachineWaits.UntilStoppedAsync(session, machine),
            (session, machine) => session.Get(state) is null && machine.Exit is { } exit
                ? exit.ExitCode.ToString(System.Globalization.CultureInfo.InvariantCulture)
                : machine.State);
    }

    private static Option<TimeSpan?> StopTimeout() => CliOptions.Parsed<TimeSpan?>(
        "--timeout", "TIME", "Time to end by itself, before SIGKILL (default the machine's, 10s)", text => Values.Duration(text), "-t", "--time");

    /// <summary>A command over several machines at once.</summary>
    private static CliCommand ForEach(
        string name,
        string description,
        string[] examples,
        Option[] options,
        Func<Session, Machine, Task<Machine>> act,
        Func<Session, Machine, string>? print = null)
    {
        var names = MachineArguments.Many();
        var command = new CliCommand(name, description)
        {
            Usage = "[OPTIONS] MACHINE [MACHINE...]",
            Examples = examples,
            Run = async session =>
            {
                var machines = await session.Api.ListMachinesAsync(session.Cancelled);
                var typed = session.Get(names);
                var running = typed.Select(text => ActAsync(session, text, machines, act)).ToList();
                var done = new List<MachineOutcome>();
                return await session.ForEachAsync(
                    Enumerable.Range(0, typed.Length),
                    async i =>
                    {
                        var machine = await running[i];
                        done.Add(MachineOutcome.Of(machine));
                        if (!session.Json)
                            session.Terminal.Out.WriteLine(print is null ? typed[i] : print(session, machine));
                    },
                    () =>
                    {
                        if (session.Json)
                            JsonOutput.Document<IReadOnlyList<MachineOutcome>>(session.Terminal, done);
                    });
            },
        };
        foreach (var option in options)
            command.Options.Add(option);
        command.Arguments.Add(names);
        return command;
    }

    private static async Task<Machine> ActAsync(
        Session session, string text, IReadOnlyList<Machine> machines, Func<Session, Machine, Task<Machine>> act) =>
        await act(session, MachineNames.Resolve(text, machines));
}
