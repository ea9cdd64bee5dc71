using Ravel.Cli.Output;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary><c>ravel ps</c>.</summary>
internal static class PsCommand
{
    public static CliCommand Create()
    {
        var all = CliOptions.Flag("--all", "Show those that do not run as well", "-a");
        var quiet = CliOptions.Flag("--quiet", "Print ids only", "-q");
        var whole = CliOptions.Flag("--no-trunc", "Do not shorten commands");
        var app = CliOptions.Text("--app", "NAME", "Only machines of this app");
        var command = new CliCommand("ps", "List machines")
        {
            Usage = "[OPTIONS]",
            Examples =
            [
                "ravel ps                        # what runs",
                "ravel ps -a                     # and what has ended",
                "ravel rm -f $(ravel ps -aq)     # remove everything",
                "ravel ps -a --json | jq -r '.[].name'",
            ],
            Run = async session =>
            {
                var machines = (await session.Api.ListMachinesAsync(session.Cancelled))
                    .Where(machine => machine.State != MachineStates.Destroyed)
                    .Where(machine => session.Get(all) || IsAlive(machine))
                    .Where(machine => session.Get(app) is not { } name || machine.App == name)
                    .OrderByDescending(machine => machine.CreatedAt)
                    .ToList();
                if (session.Json)
                    JsonOutput.Document<IReadOnlyList<Machine>>(session.Terminal, machines);
                else if (session.Get(quiet))
                    machines.ForEach(machine => session.Terminal.Out.WriteLine(machine.Id));
                else
                    Render(machines, session.Get(whole), session.Time.GetUtcNow()).Write(session.Terminal);
                return 0;
            },
        };
        command.Options.Add(all);
        command.Options.Add(quiet);
        command.Options.Add(whole);
        command.Options.Add(app);
        return command;
    }

    public static Table Render(IReadOnlyList<Machine> machines, bool whole, DateTimeOffset now)
    {
        var table = new Table("ID", "NAME", "IMAGE", "COMMAND", "STATE", "PORTS");
        // Two apps may each have a machine of one name.
        var single = machines.Select(machine => machine.App).Distinct().Count() <= 1;
        foreach (var machine in machines)
        {
            table.Add(
                machine.Id.Value,
                single ? machine.Name : $"{machine.App}/{machine.Name}",
                machine.Config.Image,
                MachineText.Command(machine, whole),
                MachineText.State(machine, now),
                MachineText.Ports(machine));
        }
        return table;
    }

    private static bool IsAlive(Machine machine) =>
        machine.State is MachineStates.Starting or MachineStates.Started or MachineStates.Suspending or MachineStates.Stopping
            or MachineStates.Destroying;
}
