using Ravel.Cli.Errors;
using Ravel.Cli.Parsing;
using Ravel.Contracts.Api;

namespace Ravel.Cli.Machines;

/// <summary>Waiting for what a machine comes to, however long that takes: the server's waits are short and are asked again.</summary>
internal static class MachineWaits
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(250);

    /// <summary>The machine once it does not run any more, for whatever reason.</summary>
    public static Task<Machine> UntilOverAsync(Session session, Machine machine, CancellationToken cancellationToken) =>
        UntilAsync(session, machine, MachineStates.Stopped, IsOver, cancellationToken);

    /// <exception cref="CliException">It failed instead.</exception>
    public static async Task<Machine> UntilStoppedAsync(Session session, Machine machine)
    {
        var seen = await UntilAsync(
            session, machine, MachineStates.Stopped, state => IsOver(state) || state == MachineStates.Created, session.Cancelled);
        return Checked(seen);
    }

    /// <exception cref="CliException">It could not be saved, or ended before it was.</exception>
    public static async Task<Machine> UntilSuspendedAsync(Session session, Machine machine)
    {
        var seen = await UntilAsync(
            session, machine, MachineStates.Suspended, state => state != MachineStates.Suspending, session.Cancelled);
        return seen.State == MachineStates.Suspended
            ? seen
            : throw new CliException(machine.Name, $"was not suspended: it is {seen.State}", $"see: ravel logs {machine.Name}");
    }

    /// <exception cref="CliException">It failed, or was removed.</exception>
    public static async Task<Machine> UntilStartedAsync(Session session, Machine machine)
    {
        // A job of a millisecond may be over before anybody looks.
        var seen = await UntilAsync(
            session, machine, MachineStates.Started, state => state == MachineStates.Started || IsOver(state), session.Cancelled);
        if (seen.State is MachineStates.Destroyed or MachineStates.Destroying && seen.Exit is null)
            throw new CliException(machine.Name, "was removed before it started");
        return Checked(seen);
    }

    /// <exception cref="CliException">It came to an end that it does not leave by itself, and is not in that state.</exception>
    public static async Task<Machine> UntilInAsync(Session session, Machine machine, string state)
    {
        var seen = await UntilAsync(
            session, machine, state, now => now == state || now is MachineStates.Failed or MachineStates.Destroyed, session.Cancelled);
        return seen.State == state
            ? seen
            : throw new CliException(machine.Name, $"is {seen.State} and will not be {state} by itself", $"see: ravel events {machine.Name}");
    }

    public static Task<Machine> UntilDestroyedAsync(Session session, Machine machine) =>
        UntilAsync(session, machine, MachineStates.Destroyed, state => state == MachineStates.Destroyed, session.Cancelled);

    private static bool IsOver(string state) =>
        state is MachineStates.Stopped or MachineStates.Failed or MachineStates.Destroying or MachineStates.Destroyed;

    private static Machine Checked(Machine machine) => machine.State == MachineStates.Failed
        ? throw new CliException(
            machine.Name,
            machine.Problem?.Message.TrimEnd('.') ?? "failed",
            machine.Problem is { } problem ? Problems.RemedyFor(problem.Code, problem.Message) : $"see: ravel events {machine.Name}")
        : machine;

    private static async Task<Machine> UntilAsync(
        Session session, Machine machine, string state, Func<string, bool> isReached, CancellationToken cancellationToken)
    {
        while (true)
        {
            var current = await SeenAsync(session, machine, cancellationToken);
            if (isReached(current.State))
                return current;
            var asked = session.Time.GetTimestamp();
            await session.Api.WaitAsync(machine, state, cancellationToken);
            // An early answer that did not bring the state asked for must not make this a busy loop.
            if (session.Time.GetElapsedTime(asked) < Pause && !isReached((await SeenAsync(session, machine, cancellationToken)).State))
                await Task.Delay(Pause, session.Time, cancellationToken);
        }
    }

    /// <summary>The machine now; a server that has forgotten it has destroyed it.</summary>
    private static async Task<Machine> SeenAsync(Session session, Machine machine, CancellationToken cancellationToken)
    {
        try
        {
            return await session.Api.GetMachineAsync(machine, cancellationToken);
        }
        catch (ProblemException e) when (e.Problem.Code is ProblemCodes.MachineNotFound or ProblemCodes.NotFound)
        {
            return machine with { State = MachineStates.Destroyed };
        }
    }
}
