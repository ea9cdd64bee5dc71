using System.Collections.Concurrent;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Ravel.ControlPlane.Storage;
using Ravel.Durable;

namespace Ravel.ControlPlane.Cluster;

/// <summary>
/// Which nodes and servers are there. A node announces itself to one server; every server speaks with every node, so each tells the others
/// through the database, in one statement for all that it heard since the last time:
/// <list type="number">
/// <item>raise the numbers of this server and of the nodes that announced themselves here;</item>
/// <item>read everybody's;</item>
/// <item>speak with whom is there, and no more with whom is not.</item>
/// </list>
/// While the database is away nobody's absence counts.
/// </summary>
internal sealed class NodePresence(
    Database database,
    ClusterAuthority cluster,
    INodeRoutes routes,
    HubOptions options,
    TimeProvider time,
    ILogger<NodePresence> log) : BackgroundService
{
    private const int Chunk = 1_000;

    /// <summary>Silence after which a server's row is nobody's.</summary>
    private static readonly TimeSpan ForgottenAfter = TimeSpan.FromMinutes(10);

    private readonly ConcurrentDictionary<string, bool> _announced = new(StringComparer.Ordinal);
    private readonly Sightings _nodes = new(time, options.LostAfter);
    private readonly Sightings _servers = new(time, options.LostAfter);
    private readonly Wakeup _soon = new();
    private readonly HashSet<string> _routed = new(StringComparer.Ordinal);
    private volatile IReadOnlyDictionary<string, Member> _members = new Dictionary<string, Member>();
    private volatile IReadOnlyList<string> _hubs = [];
    private volatile string? _ownHub;

    /// <summary>The hubs of the servers that are there, this one's first.</summary>
    public IReadOnlyList<string> Hubs => _ownHub is { } own ? [own, .. _hubs.Where(hub => hub != own)] : _hubs;

    /// <summary>Where this server's hub is, once it is; nodes are sent there from then on.</summary>
    public string? OwnHub
    {
        get => _ownHub;
        set => _ownHub = value;
    }

    /// <summary>Members by id, as they were a few seconds ago at most.</summary>
    public IReadOnlyDictionary<string, Member> Members => _members;

    /// <summary>Something changed that the others, or this server's own connections, should not wait for.</summary>
    public void LookSoon() => _soon.Set();

    /// <summary>A member announced itself to this server.</summary>
    public void Announced(string nodeId) => _announced[nodeId] = true;

    /// <summary>One round; the loop's, and tests'.</summary>
    internal async Task LookAsync(CancellationToken cancellationToken)
    {
        cluster.RenewOwn();
        var announced = _announced.Keys.ToArray();
        foreach (var id in announced)
            _announced.TryRemove(id, out _);
        await TellAsync(announced, cancellationToken);
        var (members, servers) = await database.ReadAsync(
            async db => (await db.Members.ToListAsync(cancellationToken), await db.Servers.ToListAsync(cancellationToken)),
            cancellationToken);

        _nodes.Read(members.Select(m => KeyValuePair.Create(m.Id, m.Beat)));
        _servers.Read(servers.Select(s => KeyValuePair.Create(s.Id, s.Beat)));
        _members = members.ToDictionary(m => m.Id, Member.Of, StringComparer.Ordinal);
        _hubs = [.. servers.Where(s => _servers.IsHere(s.Id)).Select(s => s.Hub).Distinct().Order(StringComparer.Ordinal)];
        Route(members);
        await ForgetAsync(servers, cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var failed = false;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await LookAsync(stoppingToken);
                failed = false;
                await _soon.WaitAsync(options.Interval, time, stoppingToken);
            }
            catch (Exception) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                if (!failed)
                    log.LogWarning(e, "Who is there is not known for now; nodes and servers that were there are taken to be");
                failed = true;
                await Task.Delay(options.Interval, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        _soon.Dispose();
    }

    private void Route(List<MemberRow> members)
    {
        var here = new HashSet<string>(StringComparer.Ordinal);
        foreach (var member in members)
        {
            if (member.Address is null || !Uri.TryCreate(member.Address, UriKind.Absolute, out var address) || !_nodes.IsHere(member.Id))
                continue;
            here.Add(member.Id);
            routes.Add(member.Id, address);
            if (_routed.Add(member.Id))
                log.LogInformation("Node {Node} is at {Address}", member.Id, address);
        }
        foreach (var gone in _routed.Where(id => !here.Contains(id)).ToList())
        {
            _routed.Remove(gone);
            routes.Remove(gone);
            log.LogWarning("Node {Node} is not heard any more", gone);
        }
    }

    private Task TellAsync(string[] announced, CancellationToken cancellationToken) =>
        database.WriteAsync(
            async db =>
            {
                foreach (var ids in announced.Chunk(Chunk))
                    await db.Members.Where(m => ids.Contains(m.Id)).ExecuteUpdateAsync(row => row.SetProperty(m => m.Beat, m => m.Beat + 1), cancellationToken);
                if (OwnHub is not { } hub)
                    return;
                var told = await db.Servers.Where(s => s.Id == cluster.ServerId)
                    .ExecuteUpdateAsync(row => row.SetProperty(s => s.Beat, s => s.Beat + 1).SetProperty(s => s.Hub, hub), cancellationToken);
                if (told == 0)
                    db.Servers.Add(new ServerRow { Id = cluster.ServerId, Hub = hub });
            },
            cancellationToken);

    private async Task ForgetAsync(List<ServerRow> servers, CancellationToken cancellationToken)
    {
        var dead = servers.Where(s => _servers.SilenceOf(s.Id) > ForgottenAfter).Select(s => s.Id).ToArray();
        if (dead.Length > 0)
            await database.WriteAsync(db => db.Servers.Where(s => dead.Contains(s.Id)).ExecuteDeleteAsync(cancellationToken), cancellationToken);
    }
}
