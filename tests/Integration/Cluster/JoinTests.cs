using Google.Protobuf;
using Grpc.Core;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Ravel.Agent.Joining;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.ControlPlane.Cluster;
using Ravel.ControlPlane.Storage;
using Ravel.Integration.ControlPlane;
using Ravel.Testing.Cluster;
using Ravel.Testing.ControlPlane;
using Ravel.Trust;

namespace Ravel.Integration.Cluster;

/// <summary>How hosts join, over real TLS: what is refused, and that nothing is half done.</summary>
public class JoinTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("ravel-cluster-").FullName;
    private DatabaseAddress _database = null!;
    private ClusterServer _server = null!;

    protected virtual Task<DatabaseAddress?> DatabaseAsync() => Task.FromResult<DatabaseAddress?>(null);

    private string Secret => _server.Secrets!.AdministratorSecret;

    public async ValueTask InitializeAsync()
    {
        _database = await DatabaseAsync() ?? DatabaseAddress.Sqlite(Path.Combine(_directory, "server.db"));
        _server = await ClusterServer.StartAsync(_database);
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task A_host_joins_with_a_token_and_the_server_speaks_with_it()
    {
        await using var node = await JoinAsync("one");
        node.Announce();

        await Until.TrueAsync(() => _server.Directory.Find(node.NodeId) is not null);

        var info = _server.Directory.Find(node.NodeId)!.Info!;
        Assert.Equal(("lab", "a", "fast"), (info.Region, info.Zone, info.Labels["disk"]));
    }

    [Fact]
    public async Task A_host_that_has_joined_needs_no_token_any_more()
    {
        string id;
        await using (var first = await JoinAsync("one"))
            id = first.NodeId;

        await using var again = await ClusterNode.StartAsync(Path.Combine(_directory, "one"));
        await again.JoinAsync();
        again.Announce();

        Assert.Equal(id, again.NodeId);
        await Until.TrueAsync(() => _server.Directory.Find(id) is not null);
    }

    [Fact]
    public async Task A_token_works_once()
    {
        var token = await _server.NewTokenAsync(Secret);
        await using var first = await JoinAsync("one", token.Token);

        var refusal = await Assert.ThrowsAsync<JoinException>(() => JoinAsync("two", token.Token));

        Assert.Equal(ProblemCodes.JoinTokenInvalid, refusal.Code);
        Assert.Contains("used already", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Of_hosts_that_use_one_token_at_once_one_joins()
    {
        var token = Parsed((await _server.NewTokenAsync(Secret)).Token);
        var members = _server.Services.GetRequiredService<MemberStore>();

        var codes = await Task.WhenAll(Enumerable.Range(0, 8).Select(i => Task.Run(async () =>
        {
            try
            {
                await members.JoinAsync(token.Secret, $"n{i}", [(byte)i], CancellationToken.None);
                return "joined";
            }
            catch (Ravel.ControlPlane.Problems.ProblemException e)
            {
                return e.Code;
            }
        })));

        Assert.Single(codes, "joined");
        Assert.Equal(7, codes.Count(code => code == ProblemCodes.JoinTokenInvalid));
        var store = _server.Services.GetRequiredService<Database>();
        Assert.Equal(1, await store.ReadAsync(db => db.Members.CountAsync(), CancellationToken.None));
    }

    [Fact]
    public async Task A_join_whose_answer_was_lost_is_repeated_with_the_same_token()
    {
        var token = await _server.NewTokenAsync(Secret);
        var directory = Path.Combine(_directory, "one");
        await using (var first = await JoinAsync("one", token.Token))
        {
            // As if the host had died between the server's commit and its own.
            var file = new NodeIdentityFile(Path.Combine(directory, "agent"));
            file.WritePending(file.TryRead()! with { Certificate = null, Authority = null });
            File.Delete(Path.Combine(directory, "agent", "identity.json"));
        }

        await using var again = await JoinAsync("one", token.Token);
        again.Announce();

        await Until.TrueAsync(() => _server.Directory.Find(again.NodeId) is not null);
    }

    [Fact]
    public async Task A_token_expires()
    {
        var members = _server.Services.GetRequiredService<MemberStore>();
        var token = JoinToken.New(CertificateProfile.Fingerprint(_server.Authority.Authority.Certificate));
        await members.AddTokenAsync(token, TimeSpan.Zero, null, CancellationToken.None);

        var refusal = await Assert.ThrowsAsync<JoinException>(() => JoinAsync("one", token.Text));

        Assert.Equal(ProblemCodes.JoinTokenInvalid, refusal.Code);
        Assert.Contains("expired", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_of_another_cluster_is_not_told_the_secret()
    {
        var own = (await _server.NewTokenAsync(Secret)).Token;
        await using var other = await ClusterServer.StartAsync(DatabaseAddress.Sqlite(Path.Combine(_directory, "other.db")));
        await using var node = await ClusterNode.StartAsync(Path.Combine(_directory, "one"), other.Hub, own);

        var refusal = await Assert.ThrowsAsync<JoinException>(node.JoinAsync);

        Assert.Equal(ProblemCodes.Unauthorized, refusal.Code);
        // It is as good as new at the right one.
        await using var joined = await JoinAsync("two", own);
    }

    [Fact]
    public async Task The_id_of_a_node_is_not_taken_by_another_host()
    {
        await using var first = await JoinAsync("one");
        var plain = (await _server.NewTokenAsync(Secret)).Token;
        var bound = (await _server.NewTokenAsync(Secret, node: first.NodeId)).Token;

        Assert.Equal(ProblemCodes.NameTaken, await JoinCodeAsync(plain, first.NodeId));
        Assert.Equal(ProblemCodes.JoinTokenInvalid, await JoinCodeAsync(bound, "another"));
        Assert.Null(await JoinCodeAsync(bound, first.NodeId));
    }

    [Theory]
    [InlineData("not a request")]
    [InlineData("")]
    public async Task What_is_no_signing_request_is_refused_and_costs_no_token(string request)
    {
        var token = Parsed((await _server.NewTokenAsync(Secret)).Token);
        using var channel = Open(null);

        var refusal = await Assert.ThrowsAsync<RpcException>(async () => await new NodeHub.NodeHubClient(channel).JoinAsync(new JoinRequest
        {
            Secret = token.Secret,
            NodeId = "one",
            SigningRequest = ByteString.CopyFromUtf8(request),
        }));

        Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
        Assert.Null(await JoinCodeAsync(token.Text, "one"));
    }

    [Fact]
    public async Task Join_tokens_are_an_administrators()
    {
        using var tenant = _server.Client(_server.Secrets!.NamespaceSecret);

        var problem = await tenant.PostJsonAsync("/v1/nodes/join-tokens", new CreateJoinTokenRequest(), ApiJson.Default.CreateJoinTokenRequest).ProblemAsync();

        Assert.Equal(ProblemCodes.Forbidden, problem.Code);
    }

    [Fact]
    public async Task A_join_token_comes_with_the_command_for_the_new_host()
    {
        var token = await _server.NewTokenAsync(Secret, seconds: 60);

        Assert.Equal($"ravel agent --join {_server.Hub.GetLeftPart(UriPartial.Authority)} --token {token.Token}", token.Command);
        Assert.InRange(token.ExpiresAt - TimeProvider.System.GetUtcNow(), TimeSpan.Zero, TimeSpan.FromSeconds(60));
    }

    [Fact]
    public async Task No_secret_of_a_token_is_in_the_database()
    {
        var token = Parsed((await _server.NewTokenAsync(Secret)).Token);

        var row = await _server.Services.GetRequiredService<Database>().ReadAsync(db => db.JoinTokens.SingleAsync(), CancellationToken.None);

        Assert.Equal(JoinToken.HashOf(token.Secret), row.Hash);
    }

    private async Task<ClusterNode> JoinAsync(string host, string? token = null)
    {
        var node = await ClusterNode.StartAsync(
            Path.Combine(_directory, host), _server.Hub, token ?? (await _server.NewTokenAsync(Secret)).Token);
        try
        {
            await node.JoinAsync();
            return node;
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }

    private static JoinToken Parsed(string text) => JoinToken.TryParse(text, out var token) ? token : throw new FormatException(text);

    /// <summary>Joins with a key of its own, and says what that was refused with.</summary>
    private async Task<string?> JoinCodeAsync(string text, string nodeId)
    {
        var token = Parsed(text);
        using var key = CertificateProfile.NewKey();
        using var channel = Open(null);
        try
        {
            await new NodeHub.NodeHubClient(channel).JoinAsync(new JoinRequest
            {
                Secret = token.Secret,
                NodeId = nodeId,
                SigningRequest = ByteString.CopyFrom(CertificateProfile.NewSigningRequest(key)),
            });
            return null;
        }
        catch (RpcException e)
        {
            return e.Trailers.GetValue(NodeTrailers.ProblemCode);
        }
    }

    private Grpc.Net.Client.GrpcChannel Open(LiveCertificate? own) =>
        HubJoin.Open(_server.Hub, PeerTls.Calling(own, _ => true, TimeSpan.FromHours(1)));
}

public sealed class JoinOnPostgresTests : JoinTests
{
    protected override Task<DatabaseAddress?> DatabaseAsync() => NewDatabase.OnPostgresAsync();
}
