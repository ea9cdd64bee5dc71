using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Agent.Joining;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.ControlPlane.Cluster;
using Ravel.ControlPlane.Nodes;
using Ravel.ControlPlane.Problems;
using Ravel.ControlPlane.Storage;
using Ravel.Integration.ControlPlane;
using Ravel.Testing.Cluster;
using Ravel.Testing.ControlPlane;
using Ravel.Trust;

namespace Ravel.Integration.Cluster;

/// <summary>Who may do what once hosts have joined, over real TLS; removal, rotation and servers that die.</summary>
public class TrustTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-cluster-").FullName;
    private DatabaseAddress _database = null!;
    private ClusterServer _server = null!;
    private string _secret = "";

    protected virtual Task<DatabaseAddress?> DatabaseAsync() => Task.FromResult<DatabaseAddress?>(null);

    public async ValueTask InitializeAsync()
    {
        _database = await DatabaseAsync() ?? DatabaseAddress.Sqlite(Path.Combine(_directory, "server.db"));
        _server = await ClusterServer.StartAsync(_database);
        _secret = _server.Secrets!.AdministratorSecret;
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task A_node_can_announce_itself_only()
    {
        await using var one = await JoinAsync("one");
        await using var two = await JoinAsync("two");
        using var channel = Open(_server.Hub, one.Link.Own);

        var refusal = await Assert.ThrowsAsync<RpcException>(async () => await new NodeHub.NodeHubClient(channel).AnnounceAsync(
            new AnnounceRequest { Node = new NodeInfo { NodeId = two.NodeId }, Address = one.Address.ToString() }));

        Assert.Equal(ProblemCodes.Forbidden, refusal.Trailers.GetValue(NodeTrailers.ProblemCode));
    }

    [Fact]
    public async Task A_node_at_another_nodes_address_is_not_taken_for_it()
    {
        await using var one = await JoinAsync("one");
        await using var two = await JoinAsync("two");
        var routes = _server.Services.GetRequiredService<INodeRoutes>();

        // The wrong one first: had it been taken, it would have been by the time the right one is reached.
        routes.Add(one.NodeId, two.Address);
        routes.Add(two.NodeId, two.Address);

        await Until.TrueAsync(() => _server.Directory.Find(two.NodeId) is not null);
        Assert.Null(_server.Directory.Find(one.NodeId));
    }

    [Fact]
    public async Task A_node_with_its_own_certificate_that_calls_itself_another_is_not_taken_for_it()
    {
        await using var one = await JoinAsync("one");
        await using var two = await JoinAsync("two");
        await using var honest = await JoinAsync("three");
        // Whoever broke into one says there what two would say.
        two.Link.Own.Replace(one.Link.Own.Certificate!);
        var routes = _server.Services.GetRequiredService<INodeRoutes>();

        routes.Add(one.NodeId, two.Address);
        routes.Add(honest.NodeId, honest.Address);

        await Until.TrueAsync(() => _server.Directory.Find(honest.NodeId) is not null);
        Assert.Null(_server.Directory.Find(one.NodeId));
        Assert.Null(_server.Directory.Find(two.NodeId));
    }

    [Fact]
    public async Task A_node_serves_servers_and_neither_nodes_nor_anybody()
    {
        await using var one = await JoinAsync("one");
        await using var two = await JoinAsync("two");

        AssertNotLetIn(await CallNodeAsync(two, one.Link.Own));
        AssertNotLetIn(await CallNodeAsync(two, null));
        Assert.Equal(StatusCode.OK, await CallNodeAsync(two, _server.Authority.Own));
    }

    [Fact]
    public async Task A_certificate_of_another_cluster_is_worth_nothing()
    {
        await using var node = await JoinAsync("one");
        using var foreign = CertificateAuthority.Create(TimeProvider.System.GetUtcNow());
        var asServer = new LiveCertificate();
        asServer.Replace(foreign.IssueWithKey(new PeerIdentity(PeerRole.Server, "s"), TimeSpan.FromHours(1), TimeProvider.System.GetUtcNow()));
        var asNode = new LiveCertificate();
        asNode.Replace(foreign.IssueWithKey(new PeerIdentity(PeerRole.Node, node.NodeId), TimeSpan.FromHours(1), TimeProvider.System.GetUtcNow()));

        AssertNotLetIn(await CallNodeAsync(node, asServer));
        AssertNotLetIn(await AnnounceCodeAsync(asNode, node));
    }

    [Fact]
    public async Task Without_a_certificate_nothing_is_announced_or_renewed()
    {
        await using var node = await JoinAsync("one");

        Assert.Equal(StatusCode.Unauthenticated, await AnnounceCodeAsync(null, node));
    }

    [Fact]
    public async Task A_removed_node_is_refused_by_every_server_and_left_by_them()
    {
        await using var other = await OtherServerAsync();
        await using var node = await JoinAsync("one");
        node.Announce();
        await Until.TrueAsync(() => Servers(other).All(s => s.Directory.Find(node.NodeId) is not null));

        using (var client = _server.Client(_secret))
            await client.DeleteAsync($"/v1/nodes/{node.NodeId}").OkAsync();

        await Until.TrueAsync(async () => (await Task.WhenAll(Servers(other).Select(async s => await AnnounceCodeAsync(node.Link.Own, node, s))))
            .All(code => code == StatusCode.PermissionDenied));
        await Until.TrueAsync(() => Servers(other).All(s => s.Directory.Find(node.NodeId) is null));
    }

    [Fact]
    public async Task A_removed_node_is_not_noted_again_by_a_server_that_has_not_heard_yet()
    {
        await using var node = await JoinAsync("one");
        node.Announce();
        await Until.TrueAsync(() => _server.Directory.Find(node.NodeId) is not null);
        var info = _server.Directory.Find(node.NodeId)!.Info!;
        using (var client = _server.Client(_secret))
            await client.DeleteAsync($"/v1/nodes/{node.NodeId}").OkAsync();

        var nodes = _server.Services.GetRequiredService<NodeStore>();
        var refusal = await Assert.ThrowsAsync<ProblemException>(() => nodes.SeenAsync(info, hasJoined: true, CancellationToken.None));

        Assert.Equal(ProblemCodes.NodeRemoved, refusal.Code);
        Assert.Empty(await nodes.ListAsync(CancellationToken.None));
    }

    [Fact]
    public async Task A_removed_node_comes_back_with_a_new_token_only()
    {
        string id;
        await using (var node = await JoinAsync("one"))
        {
            node.Announce();
            id = node.NodeId;
            await Until.TrueAsync(() => _server.Directory.Find(id) is not null);
            using var client = _server.Client(_secret);
            await client.DeleteAsync($"/v1/nodes/{id}").OkAsync();
        }
        var token = await _server.NewTokenAsync(_secret);

        // It still has its identity of before, and starts with that.
        await using var back = await ClusterNode.StartAsync(Path.Combine(_directory, "one"), _server.Hub, token.Token);
        await back.JoinAsync();
        back.Announce();

        await Until.TrueAsync(() => _server.Directory.Find(id) is not null);
    }

    [Fact]
    public async Task The_key_a_node_had_before_it_joined_anew_is_worth_nothing()
    {
        await using var node = await JoinAsync("one");
        var stolen = new LiveCertificate();
        stolen.Replace(node.Link.Own.Certificate!);
        var token = await _server.NewTokenAsync(_secret, node: node.NodeId);
        Assert.True(JoinToken.TryParse(token.Token, out var parsed));
        using var key = CertificateProfile.NewKey();
        using (var channel = Open(_server.Hub, null))
        {
            await new NodeHub.NodeHubClient(channel).JoinAsync(new JoinRequest
            {
                Secret = parsed.Secret,
                NodeId = node.NodeId,
                SigningRequest = ByteString.CopyFrom(CertificateProfile.NewSigningRequest(key)),
            });
        }

        await Until.TrueAsync(async () => await AnnounceCodeAsync(stolen, node) == StatusCode.PermissionDenied);
    }

    [Fact]
    public async Task A_renewal_whose_answer_was_lost_is_asked_for_again_with_the_old_key()
    {
        await using var node = await JoinAsync("one");
        var old = node.Link.Own;

        Assert.Equal(StatusCode.OK, await RenewCodeAsync(old));
        Assert.Equal(StatusCode.OK, await AnnounceCodeAsync(old, node));
        Assert.Equal(StatusCode.OK, await RenewCodeAsync(old));
    }

    [Fact]
    public async Task Certificates_are_renewed_in_time_while_streams_stay_open()
    {
        var time = new ShiftedTime();
        await using var server = await ClusterServer.StartAsync(_database, o => o with { NodeCertificateLifetime = TimeSpan.FromHours(24) }, time);
        var token = await server.NewTokenAsync(_secret);
        await using var node = await ClusterNode.StartAsync(Path.Combine(_directory, "one"), server.Hub, token.Token, time);
        await node.JoinAsync();
        node.Announce();
        await Until.TrueAsync(() => server.Directory.Find(node.NodeId) is not null);
        var (nodes, servers) = (node.Link.Own.Certificate, server.Authority.Own.Certificate);
        var connection = server.Directory.Find(node.NodeId)!;
        using var ending = new CancellationTokenSource();
        using var stream = connection.Client.WatchEvents(new WatchEventsRequest(), cancellationToken: ending.Token);
        var reading = stream.ResponseStream.MoveNext(CancellationToken.None);

        time.Advance(TimeSpan.FromHours(17));

        await Until.TrueAsync(() => node.Link.Own.Certificate != nodes && server.Authority.Own.Certificate != servers);
        Assert.False(reading.IsCompleted);
        await ending.CancelAsync();
        await Assert.ThrowsAsync<RpcException>(() => reading);
        Assert.Same(connection, server.Directory.Find(node.NodeId));
        Assert.Equal(node.NodeId, (await connection.Client.GetNodeAsync(new GetNodeRequest())).NodeId);
        Assert.Equal(StatusCode.OK, await AnnounceCodeAsync(node.Link.Own, node, server));
        // What it has now is also what it comes back with.
        var kept = new NodeIdentityFile(Path.Combine(_directory, "one", "agent")).TryRead()!;
        using var certificate = kept.Load();
        Assert.NotEqual(nodes!.SerialNumber, certificate.SerialNumber);
    }

    [Fact]
    public async Task A_node_turns_to_another_server_when_its_own_dies()
    {
        var first = await OtherServerAsync();
        await using var node = await JoinAsync("one", first);
        node.Announce();
        await Until.TrueAsync(() => new NodeIdentityFile(Path.Combine(_directory, "one", "agent")).TryRead()!.Servers.Count == 2);

        await first.DisposeAsync();

        // Its silence would be noticed after a second: that it is still there after several says that it is heard here.
        await Until.TrueAsync(() => _server.Directory.Find(node.NodeId) is not null);
        var presence = _server.Services.GetRequiredService<NodePresence>();
        await Until.TrueAsync(() => presence.Hubs is [var only] && only == _server.Hub.GetLeftPart(UriPartial.Authority));
        await Until.TrueAsync(() => _server.Directory.Find(node.NodeId) is not null);
    }

    [Fact]
    public async Task A_node_that_is_silent_is_left_and_found_again()
    {
        string id;
        await using (var node = await JoinAsync("one"))
        {
            node.Announce();
            id = node.NodeId;
            await Until.TrueAsync(() => _server.Directory.Find(id) is not null);
        }
        await Until.TrueAsync(() => _server.Directory.Find(id) is null);

        await using var back = await ClusterNode.StartAsync(Path.Combine(_directory, "one"));
        await back.JoinAsync();
        back.Announce();

        await Until.TrueAsync(() => _server.Directory.Find(id) is not null);
    }

    [Fact]
    public async Task A_sealed_authority_opens_with_its_key_only()
    {
        var key = new byte[32];
        await using (await OtherServerAsync(o => o with { AuthoritySecret = key }))
        {
        }

        await Assert.ThrowsAsync<ClusterKeyException>(() => OtherServerAsync());
        await Assert.ThrowsAsync<ClusterKeyException>(() => OtherServerAsync(o => o with { AuthoritySecret = [.. key[..31], 1] }));
        await using var again = await OtherServerAsync(o => o with { AuthoritySecret = key });
        Assert.Equal(_server.Authority.Authority.Certificate.Thumbprint, again.Authority.Authority.Certificate.Thumbprint);
    }

    private ClusterServer[] Servers(ClusterServer other) => [_server, other];

    private Task<ClusterServer> OtherServerAsync(Func<HubOptions, HubOptions>? configure = null) => ClusterServer.StartAsync(_database, configure);

    private async Task<ClusterNode> JoinAsync(string host, ClusterServer? at = null)
    {
        var token = await (at ?? _server).NewTokenAsync(_secret);
        var node = await ClusterNode.StartAsync(Path.Combine(_directory, host), (at ?? _server).Hub, token.Token);
        await node.JoinAsync();
        return node;
    }

    /// <summary>A handshake that is refused shows before or after the call is sent (TLS 1.3), and is Unavailable or Internal to gRPC.</summary>
    private static void AssertNotLetIn(StatusCode code) => Assert.True(code is StatusCode.Unavailable or StatusCode.Internal, $"It is {code}.");

    private static GrpcChannel Open(Uri address, LiveCertificate? own) => HubJoin.Open(address, PeerTls.Calling(own, _ => true, TimeSpan.FromHours(1)));

    private static async Task<StatusCode> CallNodeAsync(ClusterNode node, LiveCertificate? own)
    {
        using var channel = Open(node.Address, own);
        return await CodeAsync(async () => await new Ravel.Contracts.Node.Node.NodeClient(channel).GetNodeAsync(new GetNodeRequest()));
    }

    private async Task<StatusCode> AnnounceCodeAsync(LiveCertificate? own, ClusterNode node, ClusterServer? at = null)
    {
        using var channel = Open((at ?? _server).Hub, own);
        return await CodeAsync(async () => await new NodeHub.NodeHubClient(channel).AnnounceAsync(
            new AnnounceRequest { Node = new NodeInfo { NodeId = node.NodeId }, Address = node.Address.ToString() }));
    }

    /// <summary>Asks for a certificate and throws it away.</summary>
    private async Task<StatusCode> RenewCodeAsync(LiveCertificate own)
    {
        using var key = CertificateProfile.NewKey();
        using var channel = Open(_server.Hub, own);
        return await CodeAsync(async () => await new NodeHub.NodeHubClient(channel).RenewAsync(
            new RenewRequest { SigningRequest = ByteString.CopyFrom(CertificateProfile.NewSigningRequest(key)) }));
    }

    private static async Task<StatusCode> CodeAsync(Func<Task> call)
    {
        try
        {
            await call();
            return StatusCode.OK;
        }
        catch (RpcException e)
        {
            return e.StatusCode;
        }
    }
}

public sealed class TrustOnPostgresTests : TrustTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}
