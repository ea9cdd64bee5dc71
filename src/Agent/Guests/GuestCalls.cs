using Ravel.Agent.Instances;
using Ravel.Agent.Machines;
using Ravel.Contracts.Api;
using Ravel.Contracts.Link;
using Ravel.Link;

namespace Ravel.Agent.Guests;

/// <summary>Calls into a running guest.</summary>
internal static class GuestCalls
{
    /// <summary>How long a link that broke is waited for.</summary>
    private static readonly TimeSpan LinkPatience = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(20);

    /// <exception cref="InstanceException">The machine does not run.</exception>
    /// <exception cref="LinkException">The link broke.</exception>
    public static async Task SignalAsync(MachineActor machine, int signal, TimeProvider time, CancellationToken cancellationToken)
    {
        var use = await LinkOfAsync(machine, time, cancellationToken);
        await use.Link.SendAsync(new SignalWorkload(signal), cancellationToken);
    }

    /// <summary>The link of a machine whose workload runs; one that is just being made anew is waited for.</summary>
    /// <param name="machine">Which.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <param name="awaitStart">Wait for a machine that is starting, too, however long its start may take.</param>
    public static async Task<LinkUse> LinkOfAsync(MachineActor machine, TimeProvider time, CancellationToken cancellationToken, bool awaitStart = false)
    {
        var begin = time.GetTimestamp();
        while (true)
        {
            var state = machine.Record?.State;
            var isStarting = awaitStart && state is InstanceState.Starting or InstanceState.Booting;
            if (state is not (InstanceState.Running or InstanceState.Stopping) && !isStarting)
                throw new InstanceException(ProblemCodes.IllegalState, $"Machine {machine.Id} is not running; start it first.");
            if (isStarting)
                begin = time.GetTimestamp();
            else if (machine.Session?.Current is { } use)
                return use;
            if (time.GetElapsedTime(begin) > LinkPatience)
                throw new InstanceException(ProblemCodes.GuestFailed, $"The guest of machine {machine.Id} does not answer; try again later.");
            await Task.Delay(LookInterval, time, cancellationToken);
        }
    }
}
