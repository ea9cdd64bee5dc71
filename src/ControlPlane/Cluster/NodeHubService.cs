using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.ControlPlane.Problems;
using Ravel.Trust;
using Rpc = Ravel.Contracts.Node;

namespace Ravel.ControlPlane.Cluster;

/// <summary>What nodes call (hub.proto). Who calls is told by the certificate of the connection and by nothing that is said on it.</summary>
internal sealed class NodeHubService(
    ClusterAuthority cluster,
    MemberStore members,
    NodePresence presence,
    HubOptions options,
    TimeProvider time,
    ILogger<NodeHubService> log) : Rpc.NodeHub.NodeHubBase
{
    private const int MaxAddress = 255;
    private const int MaxLabels = 64;
    private const int MaxText = 255;

    public override Task<Rpc.Authority> GetAuthority(Rpc.GetAuthorityRequest request, ServerCallContext context) =>
        Task.FromResult(new Rpc.Authority { Certificate = ByteString.CopyFrom(cluster.Authority.Certificate.RawDataMemory.Span) });

    public override Task<Rpc.JoinResponse> Join(Rpc.JoinRequest request, ServerCallContext context) => MapAsync(async () =>
    {
        if (!JoinToken.IsSecret(request.Secret))
            throw new ProblemException(ProblemCodes.JoinTokenInvalid, "This is not a join token; make one with 'ravel node join-token'.");
        if (!PeerIdentity.IsId(request.NodeId))
            throw ProblemException.Invalid("node_id must have 1 to 64 letters, digits, '.', '_' and '-'.");
        var key = KeyOf(request.SigningRequest);
        await members.JoinAsync(request.Secret, request.NodeId, CertificateProfile.KeyHash(key), context.CancellationToken);
        log.LogInformation("Node {Node} joined from {Peer}", request.NodeId, context.Peer);
        var response = new Rpc.JoinResponse { Certificate = Issue(request.NodeId, key) };
        response.Servers.AddRange(presence.Hubs);
        return response;
    });

    public override Task<Rpc.AnnounceResponse> Announce(Rpc.AnnounceRequest request, ServerCallContext context) => MapAsync(async () =>
    {
        var (node, _) = await MemberAsync(context);
        Check(request, node);
        if (!presence.Members.TryGetValue(node, out var member) || member.Address != request.Address)
        {
            await members.SetAddressAsync(node, request.Address, context.CancellationToken);
            presence.LookSoon();
        }
        presence.Announced(node);
        var response = new Rpc.AnnounceResponse { Interval = Duration.FromTimeSpan(options.Interval) };
        response.Servers.AddRange(presence.Hubs);
        return response;
    });

    public override Task<Rpc.RenewResponse> Renew(Rpc.RenewRequest request, ServerCallContext context) => MapAsync(async () =>
    {
        var (node, askedWith) = await MemberAsync(context);
        var key = KeyOf(request.SigningRequest);
        if (!await members.RenewAsync(node, askedWith, CertificateProfile.KeyHash(key), context.CancellationToken))
            throw Removed(node);
        return new Rpc.RenewResponse { Certificate = Issue(node, key) };
    });

    private static System.Security.Cryptography.X509Certificates.PublicKey KeyOf(ByteString request) =>
        CertificateAuthority.ReadSigningRequest(request.Memory)
        ?? throw ProblemException.Invalid("signing_request is not one of PKCS #10 for an ECDSA P-256 key, signed with it.");

    private static void Check(Rpc.AnnounceRequest request, string caller)
    {
        if (request.Node is not { } node)
            throw ProblemException.Invalid("node is missing.");
        if (node.NodeId != caller)
            throw new ProblemException(ProblemCodes.Forbidden, $"Node {caller} may announce itself and no other.");
        if (request.Address.Length > MaxAddress
            || !Uri.TryCreate(request.Address, UriKind.Absolute, out var address)
            || address.Scheme != Uri.UriSchemeHttps || address.PathAndQuery != "/" || address.UserInfo.Length > 0)
            throw ProblemException.Invalid("address must be https://ADDRESS:PORT.");
        if (node.Labels.Count > MaxLabels || node.Labels.Any(label => label.Key.Length is 0 or > MaxText || label.Value.Length > MaxText)
            || node.Region.Length > MaxText || node.Zone.Length > MaxText)
            throw ProblemException.Invalid($"A node has at most {MaxLabels} labels, and each of their names and values, its region and its zone at most {MaxText} characters.");
    }

    private static async Task<T> MapAsync<T>(Func<Task<T>> call)
    {
        try
        {
            return await call();
        }
        catch (ProblemException e)
        {
            throw new RpcException(new Status(StatusOf(e.Code), e.Message), new Metadata { { Rpc.NodeTrailers.ProblemCode, e.Code } });
        }
    }

    private static StatusCode StatusOf(string code) => code switch
    {
        ProblemCodes.InvalidRequest => StatusCode.InvalidArgument,
        ProblemCodes.Unauthorized => StatusCode.Unauthenticated,
        ProblemCodes.NameTaken => StatusCode.AlreadyExists,
        ProblemCodes.DatabaseUnavailable => StatusCode.Unavailable,
        _ => StatusCode.PermissionDenied,
    };

    private static ProblemException Removed(string node) => new(
        ProblemCodes.NodeRemoved,
        $"Node {node} was removed from the cluster, or joined it again with another key; to join again it needs a token of 'ravel node join-token'.");

    private ByteString Issue(string node, System.Security.Cryptography.X509Certificates.PublicKey key)
    {
        using var certificate = cluster.Authority.Issue(
            new PeerIdentity(PeerRole.Node, node), key, options.NodeCertificateLifetime, time.GetUtcNow());
        return ByteString.CopyFrom(certificate.RawDataMemory.Span);
    }

    /// <summary>The node that calls, and the hash of the key with which it does.</summary>
    /// <exception cref="ProblemException"><c>unauthorized</c>; <c>node-removed</c>.</exception>
    private async Task<(string Node, byte[] KeyHash)> MemberAsync(ServerCallContext context)
    {
        // Looked at for each call: a connection may outlive its certificate.
        var certificate = context.GetHttpContext().Connection.ClientCertificate;
        if (cluster.Verifier.Caller(certificate) is not { Role: PeerRole.Node, Id: var node })
            throw new ProblemException(ProblemCodes.Unauthorized, "This takes the certificate of a node.");
        var key = CertificateProfile.KeyHash(certificate!.PublicKey);
        // One that joined or was renewed since the last look is asked for.
        if (presence.Members.GetValueOrDefault(node)?.Has(key) != true && (await members.FindAsync(node, context.CancellationToken))?.Has(key) != true)
            throw Removed(node);
        return (node, key);
    }
}
