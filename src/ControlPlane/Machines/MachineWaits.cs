using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Machines;

/// <summary>Waits for machines by being told of changes; the database is read once per change, never polled.</summary>
internal sealed class MachineWaits(MachineStore machines, MachineChanges changes, TimeProvider time)
{
    /// <summary>Returns when a machine is in the wanted state.</summary>
    /// <param name="key">Which machine.</param>
    /// <param name="wanted">A state that <see cref="WaitCondition.IsKnown"/> knows.</param>
    /// <param name="instanceId">Only this incarnation counts; null: any.</param>
    /// <param name="limit">How long.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="ProblemException"><c>timeout</c>, or <c>illegal-state</c> when it can't come to that any more.</exception>
    public async Task WaitAsync(MachineKey key, string wanted, string? instanceId, TimeSpan limit, CancellationToken cancellationToken)
    {
        key = await ByIdAsync(key, cancellationToken);
        using var subscription = changes.Subscribe(key.Id);
        var deadline = time.GetTimestamp() + (long)(limit.TotalSeconds * time.TimestampFrequency);
        while (true)
        {
            var (row, _) = await machines.GetAsync(key, cancellationToken);
            var (met, instead) = WaitCondition.Check(wanted, row.Intent(), row.Sighting());
            var isThatInstance = instanceId is null || row.InstanceId == instanceId || wanted == MachineStates.Destroyed;
            if (met && isThatInstance)
                return;
            if (instead is not null && isThatInstance)
            {
                var why = row.ProblemMessage is null ? "" : $": {row.ProblemMessage}";
                throw new ProblemException(
                    ProblemCodes.IllegalState, $"Machine {row.Id} ({row.Name}) is {instead} and won't become {wanted} by itself{why}");
            }
            var left = time.GetElapsedTime(time.GetTimestamp(), deadline);
            if (left <= TimeSpan.Zero)
            {
                throw new ProblemException(
                    ProblemCodes.Timeout, $"Machine {row.Id} ({row.Name}) is {row.SeenState()}, not {wanted}, after {limit.TotalSeconds:0} s.");
            }
            await subscription.Wakeup.WaitAsync(left, time, cancellationToken);
        }
    }

    /// <summary>Returns when the machine's node has heard of what it shall be now: before that the node can't answer for it.</summary>
    public async Task<StoredMachine> WaitUntilAcceptedAsync(MachineKey key, TimeSpan limit, CancellationToken cancellationToken)
    {
        key = await ByIdAsync(key, cancellationToken);
        using var subscription = changes.Subscribe(key.Id);
        var deadline = time.GetTimestamp() + (long)(limit.TotalSeconds * time.TimestampFrequency);
        while (true)
        {
            var machine = await machines.GetAsync(key, cancellationToken);
            // The newest generation: a node that has not heard of a start yet would show the run before it, which has ended.
            if (Math.Max(machine.Row.AcceptedGeneration, machine.Row.RefusedGeneration) >= machine.Row.Generation)
                return machine;
            var left = time.GetElapsedTime(time.GetTimestamp(), deadline);
            if (left <= TimeSpan.Zero)
                throw new ProblemException(ProblemCodes.NodeUnavailable, $"The node has not taken machine {key.Id} yet; try again.");
            await subscription.Wakeup.WaitAsync(left, time, cancellationToken);
        }
    }

    /// <summary>By the id, which stays when the name is given up.</summary>
    private async Task<MachineKey> ByIdAsync(MachineKey key, CancellationToken cancellationToken) =>
        MachineId.TryParse(key.Id, out _) ? key : key with { Id = (await machines.GetAsync(key, cancellationToken)).Row.Id };
}
