using System.Collections.Concurrent;
using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;

namespace Ravel.ControlPlane.Placement;

/// <summary>How far one request for room has come: who has it, who refused it. Several machines ask at once.</summary>
internal sealed class PlacementAttempt(IReadOnlyList<string> machines)
{
    private readonly ConcurrentDictionary<string, Allocation> _taken = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int> _refusals = new(StringComparer.Ordinal);
    private volatile RpcException? _last;
    private volatile RpcException? _otherThanRoom;

    /// <summary>Machines without room, in their order.</summary>
    public IReadOnlyList<string> Waiting => [.. machines.Where(machine => !_taken.ContainsKey(machine))];

    public IReadOnlyList<Allocation> Allocations => [.. machines.Select(machine => _taken[machine])];

    public IEnumerable<(string MachineId, Allocation Allocation)> Taken => _taken.Select(taken => (taken.Key, taken.Value));

    /// <summary>Nodes that refused, and how often.</summary>
    public IReadOnlyDictionary<string, int> Refusals => _refusals;

    /// <summary>Room may come by waiting.</summary>
    public bool MayPass { get; set; } = true;

    public int RefusalsOf(string nodeId) => _refusals.GetValueOrDefault(nodeId);

    /// <summary>Later: whoever refused may have room by now.</summary>
    public void Forget()
    {
        _refusals.Clear();
        (_last, _otherThanRoom) = (null, null);
    }

    /// <summary>Asks one node for one machine's room.</summary>
    /// <returns>False: it has refused, and another one may not.</returns>
    /// <exception cref="RpcException">It has refused what any node would.</exception>
    public async Task<bool> TryAsync(string machine, string nodeId, Func<Task<Allocation>> reserve, CancellationToken cancellationToken)
    {
        try
        {
            _taken[machine] = await reserve();
            return true;
        }
        catch (RpcException e) when (MayFitElsewhere(e) && !cancellationToken.IsCancellationRequested)
        {
            _refusals.AddOrUpdate(nodeId, 1, (_, times) => times + 1);
            _last = e;
            if (ProblemMapper.Refusal(e).Code != ProblemCodes.InsufficientCapacity)
                _otherThanRoom = e;
            return false;
        }
    }

    /// <summary>The reasons against all nodes; or, where a node refused for one that its view does not show, its own.</summary>
    public Exception Refusal(PlacementPlan plan)
    {
        if (_otherThanRoom is { } other)
            return other;
        if (plan.Refusal is not { } refusal)
            return _last ?? (Exception)new ProblemException(ProblemCodes.NodeUnavailable, "The chosen node went away; try again.");
        var text = machines.Count == 1 ? refusal.ToString() : $"Room was found for {_taken.Count} of {machines.Count} machines, and none is created. For the next one: {refusal}";
        return new ProblemException(ProblemCodes.InsufficientCapacity, text);
    }

    /// <summary>No room there, or nobody there; anything else is the request's fault and would be refused everywhere.</summary>
    private static bool MayFitElsewhere(RpcException exception) =>
        exception.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.ResourceExhausted
        || ProblemMapper.Refusal(exception).Code is ProblemCodes.InsufficientCapacity or ProblemCodes.DiskFull;
}
