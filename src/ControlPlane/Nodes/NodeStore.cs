using Microsoft.EntityFrameworkCore;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Nodes;

/// <summary>A node, and how many machines belong there.</summary>
internal sealed record StoredNode(NodeRow Row, int Machines);

internal sealed class NodeStore
{
    private const int Most = 256;

    private readonly Database _database;
    private readonly TimeProvider _time;
    private readonly Together<Sighting, NodeRow> _sightings;

    public NodeStore(Database database, TimeProvider time)
    {
        (_database, _time) = (database, time);
        _sightings = new(SeenAsync, async seen => (await SeenAsync([seen]))[0], Most, atOnce: 1);
    }

    private sealed record Sighting(Rpc.NodeInfo Node, bool HasJoined);

    /// <summary>Notes that a node was reached.</summary>
    /// <param name="node">What it says of itself.</param>
    /// <param name="hasJoined">Whether it is one that joined: taken out by another server meanwhile, it is not noted again.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="ProblemException"><c>node-removed</c>.</exception>
    public Task<NodeRow> SeenAsync(Rpc.NodeInfo node, bool hasJoined, CancellationToken cancellationToken) =>
        _sightings.AskAsync(new Sighting(node, hasJoined)).WaitAsync(cancellationToken);

    private Task<IReadOnlyList<NodeRow>> SeenAsync(IReadOnlyList<Sighting> sightings) =>
        _database.WriteAsync<IReadOnlyList<NodeRow>>(
            async db =>
            {
                var ids = sightings.Select(seen => seen.Node.NodeId).Distinct().Order(StringComparer.Ordinal).ToArray();
                var joined = sightings.Where(seen => seen.HasJoined).Select(seen => seen.Node.NodeId).ToArray();
                var members = joined.Length == 0 ? [] : await db.Members.Where(m => joined.Contains(m.Id)).Select(m => m.Id).ToHashSetAsync(StringComparer.Ordinal);
                if (joined.FirstOrDefault(id => !members.Contains(id)) is { } removed)
                    throw new ProblemException(ProblemCodes.NodeRemoved, $"Node {removed} was removed from the cluster.");
                var rows = await db.HoldNodes(ids).ToDictionaryAsync(n => n.Id, StringComparer.Ordinal);
                var now = _time.GetUtcNow();
                foreach (var (node, _) in sightings)
                {
                    if (!rows.TryGetValue(node.NodeId, out var row))
                    {
                        row = new NodeRow { Id = node.NodeId, Vmm = node.Vmm, VmmVersion = node.VmmVersion, Architecture = node.Architecture, SeenAt = now };
                        rows.Add(row.Id, row);
                        db.Nodes.Add(row);
                    }
                    (row.Vmm, row.VmmVersion, row.Architecture, row.SeenAt) = (node.Vmm, node.VmmVersion, node.Architecture, now);
                }
                return [.. sightings.Select(seen => rows[seen.Node.NodeId])];
            },
            CancellationToken.None);

    /// <summary>In the order of their ids.</summary>
    public Task<List<StoredNode>> ListAsync(CancellationToken cancellationToken) =>
        _database.ReadAsync(db => With(db, db.Nodes.OrderBy(n => n.Id)).ToListAsync(cancellationToken), cancellationToken);

    /// <exception cref="ProblemException"><c>not-found</c>.</exception>
    public Task<StoredNode> GetAsync(string id, CancellationToken cancellationToken) =>
        _database.ReadAsync(db => FindAsync(db, id, cancellationToken), cancellationToken);

    /// <exception cref="ProblemException"><c>not-found</c>.</exception>
    public Task<StoredNode> CordonAsync(string id, bool isCordoned, CancellationToken cancellationToken) =>
        _database.WriteAsync(
            async db =>
            {
                var found = await FindAsync(db, id, cancellationToken);
                found.Row.IsCordoned = isCordoned;
                return found;
            },
            cancellationToken);

    /// <exception cref="ProblemException"><c>not-found</c>; <c>illegal-state</c>: it is reached, or has machines or volumes.</exception>
    public Task RemoveAsync(string id, bool isReached, CancellationToken cancellationToken) =>
        _database.WriteAsync(
            async db =>
            {
                // From here on no certificate of it is worth anything; with the refusals below that is taken back.
                var wasMember = await db.Members.Where(m => m.Id == id).ExecuteDeleteAsync(cancellationToken) > 0;
                if (wasMember && !await db.Nodes.AnyAsync(n => n.Id == id, cancellationToken))
                    return;
                var (row, machines) = await FindAsync(db, id, cancellationToken);
                var volumes = await db.Volumes.CountAsync(v => v.NodeId == id, cancellationToken);
                if (machines + volumes > 0)
                {
                    throw new ProblemException(
                        ProblemCodes.IllegalState, $"Node {id} still has {machines} machines and {volumes} volumes or snapshots; destroy them first.");
                }
                // A node of this host would come back by itself; one that had joined can't.
                if (isReached && !wasMember)
                    throw new ProblemException(ProblemCodes.IllegalState, $"Node {id} is still there; stop raveld on it first.");
                db.Nodes.Remove(row);
                await db.Departures.Where(d => d.NodeId == id).ExecuteDeleteAsync(cancellationToken);
            },
            cancellationToken);

    private static async Task<StoredNode> FindAsync(ServerDbContext db, string id, CancellationToken cancellationToken) =>
        await With(db, db.Nodes.Where(n => n.Id == id)).FirstOrDefaultAsync(cancellationToken)
        ?? throw new ProblemException(ProblemCodes.NotFound, $"There is no node '{id}'; list them with GET /v1/nodes.");

    private static IQueryable<StoredNode> With(ServerDbContext db, IQueryable<NodeRow> rows) =>
        rows.Select(n => new StoredNode(n, db.Machines.Count(m => m.NodeId == n.Id && m.DestroyedAt == null)));
}
