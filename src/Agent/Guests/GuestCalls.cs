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
    public static async Task<LinkUse> LinkOfAsync(MachineActor machine, TimeProvider time, CancellationToken cancellationToken)
    {
        var begin = time.GetTimestamp();
        while (true)
        {
            if (machine.Record?.State is not (InstanceState.Running or InstanceState.Stopping))
                throw new InstanceException(ProblemCodes.IllegalState, $"Machine {machine.Id} is not running; start it first.");
            if (machine.Session?.Current is { } use)
                return use;
            if (time.GetElapsedTime(begin) > LinkPatience)
                throw new InstanceException(ProblemCodes.GuestFailed, $"The guest of machine {machine.Id} does not answer; try again later.");
            await Task.Delay(LookInterval, time, cancellationToken);
        }
    }
}
