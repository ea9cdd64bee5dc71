using Microsoft.EntityFrameworkCore;
using Ravel.ControlPlane.Storage;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Nodes;

internal sealed class NodeStore(Database database, TimeProvider time)
{
    /// <summary>Notes that a node was reached.</summary>
    /// <returns>The sequence number of its newest event stored here.</returns>
    public Task<long> SeenAsync(Rpc.NodeInfo node, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                var row = await db.Nodes.FirstOrDefaultAsync(n => n.Id == node.NodeId, cancellationToken);
                if (row is null)
                {
                    row = new NodeRow
                    {
                        Id = node.NodeId,
                        Vmm = node.Vmm,
                        VmmVersion = node.VmmVersion,
                        Architecture = node.Architecture,
                        SeenAt = time.GetUtcNow(),
                    };
                    db.Nodes.Add(row);
                }
                (row.Vmm, row.VmmVersion, row.Architecture, row.SeenAt) = (node.Vmm, node.VmmVersion, node.Architecture, time.GetUtcNow());
                return row.LastSequence;
            },
            cancellationToken);
}
