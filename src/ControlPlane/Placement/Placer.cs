using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Ravel.Contracts.Api;
using Ravel.Contracts.Ids;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Ravel.Durable;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Placement;

/// <summary>Where a machine goes, with the capacity held for it until it is committed or expires.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="ReservationId">As the node calls it; empty when nothing is reserved.</param>
/// <param name="Region">Of the node; empty when it has none.</param>
internal sealed record Allocation(string NodeId, string ReservationId, string Region)
{
    /// <summary>What this server counts for it.</summary>
    internal Hold? Hold { get; init; }
}

/// <summary>
/// Decides where machines run: the planner names nodes, they are asked one after another, and the first that holds the room gets it. What
/// this server knows of a node is some seconds old; the node's word counts, so no number of servers can overcommit it.
/// </summary>
internal sealed class Placer(Fleet fleet, NodeDirectory nodes, ControlPlaneOptions options, TimeProvider time)
{
    /// <summary>So many nodes are asked anew what they hold before a machine is refused.</summary>
    private const int AskedAnew = 64;

    /// <summary>Of machines that are placed together so many ask nodes at once.</summary>
    private const int AskedAtOnce = 32;

    /// <summary>A node that refuses a machine so often is not asked for it again, whatever it says of itself.</summary>
    private const int MaxRefusals = 2;

    /// <summary>Who is refused does not wait longer for a node to hear that its room is free.</summary>
    private static readonly TimeSpan ReleaseTimeout = TimeSpan.FromSeconds(2);

    /// <summary>Between two looks for room, for a caller who waits.</summary>
    private static readonly BackoffPolicy Retry = new(TimeSpan.FromMilliseconds(250), 2, TimeSpan.FromSeconds(10));

    /// <summary>Holds what a machine needs.</summary>
    /// <param name="machineId">The machine; the plan's ties are broken by it.</param>
    /// <param name="order">What it needs, and where it may be.</param>
    /// <param name="cancellationToken">Ends the wait; what was reserved expires.</param>
    /// <exception cref="ProblemException"><c>node-unavailable</c>; <c>insufficient-capacity</c> with the reasons against the nodes.</exception>
    /// <exception cref="RpcException">The refusal of the node that was asked last.</exception>
    public async Task<Allocation> ReserveAsync(string machineId, PlacementOrder order, CancellationToken cancellationToken) =>
        (await ReserveAsync([machineId], order, cancellationToken))[0];

    /// <summary>Holds what several machines of one kind need, planned as one: for all of them or for none.</summary>
    /// <returns>In the order of the machines.</returns>
    /// <inheritdoc cref="ReserveAsync(string, PlacementOrder, CancellationToken)"/>
    public async Task<IReadOnlyList<Allocation>> ReserveAsync(
        IReadOnlyList<string> machineIds, PlacementOrder order, CancellationToken cancellationToken)
    {
        if (order.Request.NodeId is { } home)
            _ = nodes.Of(home);
        else
            await nodes.AnyAsync(cancellationToken);
        var began = time.GetTimestamp();
        var attempt = new PlacementAttempt(machineIds);
        try
        {
            for (var failures = 1; ; failures++)
            {
                if (await TryAsync(attempt, order, cancellationToken) is not { } refusal)
                    return attempt.Allocations;
                var left = order.Patience - time.GetElapsedTime(began);
                if (left <= TimeSpan.Zero || refusal is not ProblemException { Code: ProblemCodes.InsufficientCapacity } || !attempt.MayPass)
                    throw refusal;
                var delay = Retry.DelayAfter(failures);
                await Task.Delay(delay < left ? delay : left, time, cancellationToken);
                attempt.Forget();
            }
        }
        catch
        {
            await GiveBackAsync(attempt.Taken);
            throw;
        }
    }

    /// <summary>Holds what a machine needs where it is already, whether or not that node takes new ones.</summary>
    /// <exception cref="ProblemException"><c>node-unavailable</c>.</exception>
    /// <exception cref="RpcException">The node's refusal.</exception>
    public async Task<Allocation> ReserveAgainAsync(string machineId, string nodeId, PlacementOrder order, CancellationToken cancellationToken)
    {
        var node = nodes.Of(nodeId);
        // Its app counts the machine there already.
        var hold = fleet.Put(nodeId, order.Request with { AppId = "" });
        try
        {
            return await ReserveAtAsync(node, nodeId, machineId, order, hold, cancellationToken);
        }
        catch
        {
            fleet.Drop(hold);
            throw;
        }
    }

    /// <summary>The nodes for machines that need no room yet.</summary>
    /// <exception cref="ProblemException"><c>node-unavailable</c>; <c>insufficient-capacity</c>: no node takes anything.</exception>
    public async Task<IReadOnlyList<Allocation>> ChooseAsync(IReadOnlyList<string> machineIds, PlacementRequest request, CancellationToken cancellationToken)
    {
        await nodes.AnyAsync(cancellationToken);
        var (plan, holds) = fleet.Plan(request with { Wanted = default }, machineIds.Count, SeededDraws.SeedOf(machineIds[0]));
        if (plan.Refusal is null)
            return [.. holds.Select(hold => new Allocation(hold.NodeId, "", fleet.RegionOf(hold.NodeId)) { Hold = hold })];
        foreach (var hold in holds)
            fleet.Drop(hold);
        throw new ProblemException(ProblemCodes.InsufficientCapacity, plan.Refusal.ToString());
    }

    /// <summary>A node with room for a volume, which is asked for it by whoever makes it.</summary>
    /// <exception cref="ProblemException"><c>node-unavailable</c>; <c>insufficient-capacity</c>.</exception>
    public async Task<string> ChooseForVolumeAsync(long mib, CancellationToken cancellationToken)
    {
        await nodes.AnyAsync(cancellationToken);
        var request = new PlacementRequest { Wanted = new ResourceAmounts(0, 0, mib, 0) };
        var (plan, holds) = fleet.Plan(request, 1, SeededDraws.SeedOf(MachineId.New().Value));
        return plan.Refusal is { } refusal
            ? throw new ProblemException(ProblemCodes.InsufficientCapacity, refusal.ToString())
            : holds[0].NodeId;
    }

    /// <summary>The region of a node; empty when it has none.</summary>
    public string RegionOf(string nodeId) => fleet.RegionOf(nodeId);

    /// <summary>What was held is not needed: nobody has to wait for its expiry.</summary>
    public Task GiveBackAsync(IEnumerable<(string MachineId, Allocation Allocation)> allocations)
    {
        var releases = new List<Task>();
        foreach (var (machineId, allocation) in allocations)
        {
            if (allocation.Hold is { } hold)
                fleet.Drop(hold);
            if (allocation.ReservationId.Length > 0 && nodes.Find(allocation.NodeId) is { } node)
                releases.Add(ReleaseAsync(node, machineId));
        }
        return Task.WhenAll(releases);

        async Task ReleaseAsync(NodeConnection node, string machineId)
        {
            try
            {
                var deadline = time.GetUtcNow().UtcDateTime + ReleaseTimeout;
                await node.Client.ReleaseAsync(new Rpc.ReleaseRequest { MachineId = machineId }, deadline: deadline);
            }
            catch (Exception e) when (e is RpcException or ObjectDisposedException)
            {
                // It expires.
            }
        }
    }

    /// <summary>Plans and asks until every machine has its room, or nobody is left to ask.</summary>
    /// <returns>Why not; null: each has its room.</returns>
    private async Task<Exception?> TryAsync(PlacementAttempt attempt, PlacementOrder order, CancellationToken cancellationToken)
    {
        var machineCount = attempt.Waiting.Count;
        for (var isRenewed = false; ; isRenewed = true)
        {
            bool isAsked;
            PlacementPlan plan;
            do
            {
                var waiting = attempt.Waiting;
                var request = order.Request with { Failures = [.. order.Request.Failures, .. attempt.Refusals.Select(r => new NodeFailure(r.Key, r.Value, TimeSpan.Zero))] };
                (plan, var holds) = fleet.Plan(request, waiting.Count, SeededDraws.SeedOf(waiting[0]));
                isAsked = await AskAsync(attempt, order, waiting, plan, holds, cancellationToken);
                if (attempt.Waiting.Count == 0)
                    return null;
            }
            while (isAsked && attempt.Refusals.Count < AskedAnew + machineCount);
            attempt.MayPass = plan.Refusal is not { MayPass: false };
            if (!isRenewed && attempt.MayPass && await RenewAsync(attempt, order, cancellationToken))
                return null;
            if (isRenewed || !attempt.MayPass)
                return attempt.Refusal(plan);
        }
    }

    /// <summary>Asks for the room that was planned, for many machines at once.</summary>
    /// <returns>False: nobody was there to be asked who had not refused often enough.</returns>
    private async Task<bool> AskAsync(
        PlacementAttempt attempt, PlacementOrder order, IReadOnlyList<string> machines, PlacementPlan plan, IReadOnlyList<Hold> holds, CancellationToken cancellationToken)
    {
        if (holds.Count == 1)
            return await AskForAsync(0);
        var asked = false;
        var next = -1;
        await Task.WhenAll(Enumerable.Range(0, Math.Min(AskedAtOnce, holds.Count)).Select(async _ =>
        {
            for (int i; (i = Interlocked.Increment(ref next)) < holds.Count;)
            {
                if (await AskForAsync(i))
                    Volatile.Write(ref asked, true);
            }
        }));
        return asked;

        async Task<bool> AskForAsync(int i)
        {
            var isAsked = false;
            foreach (var candidate in plan.Machines[i])
            {
                if (nodes.Find(candidate) is not { } node || attempt.RefusalsOf(candidate) >= MaxRefusals)
                    continue;
                if (holds[i].NodeId != candidate)
                    fleet.Move(holds[i], candidate);
                isAsked = true;
                if (await attempt.TryAsync(machines[i], candidate, () => ReserveAtAsync(node, candidate, machines[i], order, holds[i], cancellationToken), cancellationToken))
                    return true;
            }
            fleet.Drop(holds[i]);
            return isAsked;
        }
    }

    private async Task<Allocation> ReserveAtAsync(
        NodeConnection node, string id, string machineId, PlacementOrder order, Hold hold, CancellationToken cancellationToken)
    {
        var reservation = await node.Client.ReserveAsync(
            new Rpc.ReserveRequest
            {
                MachineId = machineId,
                Generation = (ulong)order.Generation,
                Resources = order.Resources,
                Ttl = Duration.FromTimeSpan(options.ReservationTtl),
            },
            node.Call(cancellationToken));
        return new Allocation(id, reservation.ReservationId, fleet.RegionOf(id)) { Hold = hold };
    }

    /// <summary>
    /// Asks those that have refused, and those that seemed to lack room, what they hold now: something may have ended there. Who says that it
    /// has room is asked for it at once, whatever else this server has on its way there: only the node can tell what of that it counts already.
    /// </summary>
    /// <returns>True: with that, each machine has its room.</returns>
    private async Task<bool> RenewAsync(PlacementAttempt attempt, PlacementOrder order, CancellationToken cancellationToken)
    {
        var views = await Task.WhenAll(fleet.WorthAsking(order.Request, [.. attempt.Refusals.Keys], AskedAnew).Select(LookAsync));
        foreach (var view in views.OfType<NodeView>().OrderByDescending(view => (view.Total - view.Allocated).MemoryMib))
        {
            if (PlacementFilters.Judge(order.Request, new IndexedNode(view)) != RefusalReason.None)
                continue;
            while (attempt.Waiting is [var machine, ..] && nodes.Find(view.Id) is { } node && attempt.RefusalsOf(view.Id) < MaxRefusals)
            {
                var hold = fleet.Put(view.Id, order.Request);
                if (!await attempt.TryAsync(machine, view.Id, () => ReserveAtAsync(node, view.Id, machine, order, hold, cancellationToken), cancellationToken))
                {
                    fleet.Drop(hold);
                    break;
                }
            }
        }
        return attempt.Waiting.Count == 0;

        async Task<NodeView?> LookAsync(string id)
        {
            if (nodes.Find(id) is not { } node)
                return null;
            try
            {
                var askedAt = time.GetTimestamp();
                var info = await node.Client.GetNodeAsync(
                    new Rpc.GetNodeRequest { ImagesRevision = fleet.ImagesRevisionOf(id) }, node.Call(cancellationToken));
                return fleet.Heard(info, node.Condition, askedAt);
            }
            catch (RpcException) when (!cancellationToken.IsCancellationRequested)
            {
                fleet.SetCondition(id, NodeCondition.Unreachable);
                return null;
            }
        }
    }
}
