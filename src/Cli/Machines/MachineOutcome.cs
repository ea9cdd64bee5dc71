using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>What a command did to one machine, for <c>--json</c>.</summary>
/// <param name="State">The state it was left in; <c>destroyed</c> after <c>rm</c>.</param>
internal sealed record MachineOutcome(string Id, string Name, string App, string State, int? ExitCode = null)
{
    public static MachineOutcome Of(Machine machine) =>
        new(machine.Id.Value, machine.Name, machine.App, machine.State, machine.Exit?.ExitCode);
}

/// <summary>The last line of <c>run --json</c>: how the machine ended.</summary>
internal sealed record RanMachine(string Id, string Name, string State, MachineExit? Exit, MachineProblem? Problem);
