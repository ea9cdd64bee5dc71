using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Storage;

namespace Ravel.ControlPlane.Recovery;

/// <summary>
/// Gives up nodes that no server has heard of for <see cref="RecoveryOptions.NodeLostAfter"/>. Every server watches; the one on duty decides. What
/// counts as hearing: this server reaches the node, another one noted in the database that it does, or the node announced itself to any.
/// </summary>
internal sealed class NodeLoss(Database database, NodeDirectory directory, ControlPlaneOptions options, TimeProvider time, ILogger<NodeLoss> log) : IDuty
{
    private readonly NodeSilence _silence = new(time, options.Recovery.LeaseRenewal * 3);
    private readonly Lock _lock = new();
    private Dictionary<string, long> _beats = [];

    public string Name => "lost nodes";

    public async Task ObserveAsync(CancellationToken cancellationToken)
    {
        var (marks, beats) = await database.ReadAsync(
            async db => (
                await db.Nodes.Select(n => new { n.Id, n.SeenAt }).ToDictionaryAsync(n => n.Id, n => n.SeenAt.UtcTicks, cancellationToken),
                await db.Members.Select(m => new { m.Id, m.Beat }).ToDictionaryAsync(m => m.Id, m => m.Beat, cancellationToken)),
            cancellationToken);
        lock (_lock)
        {
            var before = _beats;
            _silence.Read(
                marks,
                id => directory.Find(id) is not null || (beats.TryGetValue(id, out var beat) && before.TryGetValue(id, out var last) && beat != last));
            _beats = beats;
        }
    }

    public async Task PassAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<(string Id, long Mark)> silent;
        lock (_lock)
            silent = _silence.For(options.Recovery.NodeLostAfter);
        foreach (var (id, mark) in silent)
        {
            var seenAt = new DateTimeOffset(mark, TimeSpan.Zero);
            var now = time.GetUtcNow();
            // Only as it was seen: a server that has just reached it has noted that.
            var isLost = await database.WriteAsync(
                db => db.Nodes.Where(n => n.Id == id && n.LostAt == null && n.SeenAt == seenAt)
                    .ExecuteUpdateAsync(row => row.SetProperty(n => n.LostAt, now).SetProperty(n => n.Epoch, n => n.Epoch + 1), cancellationToken),
                cancellationToken) == 1;
            if (isLost)
                log.LogWarning("Node {Node} is lost: no server has heard of it for {Seconds:0} s", id, options.Recovery.NodeLostAfter.TotalSeconds);
        }
    }
}
