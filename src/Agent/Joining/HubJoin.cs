using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.Durable;
using Ravel.Trust;

namespace Ravel.Agent.Joining;

/// <summary>
/// Makes this host a node:
/// <list type="number">
/// <item>a key is made and kept, so that a join that is cut off anywhere goes on as the same one;</item>
/// <item>the server is asked for the cluster's authority, and believed only if that is the token's;</item>
/// <item>over a connection on which the server has proved to be one of that authority's, the token is shown and a certificate given;</item>
/// <item>key, certificate and authority are kept together.</item>
/// </list>
/// </summary>
internal static class HubJoin
{
    private static readonly BackoffPolicy Retry = new(TimeSpan.FromMilliseconds(200), 2, TimeSpan.FromSeconds(5));

    /// <summary>Joins; a server that does not answer is asked until it does.</summary>
    /// <exception cref="JoinException">The server is not the token's, or refuses it.</exception>
    public static async Task<NodeIdentity> RunAsync(
        NodeIdentityFile file, string nodeId, Uri server, JoinToken token, ClusterOptions options, TimeProvider time, ILogger log, CancellationToken cancellationToken)
    {
        var pending = file.TryReadPending();
        if (pending?.NodeId != nodeId)
        {
            // The key it had says that it is the same host, so that any token will do.
            using var made = file.TryRead() is { } before && before.NodeId == nodeId ? before.LoadKey() : CertificateProfile.NewKey();
            pending = new NodeIdentity { NodeId = nodeId, Key = made.ExportPkcs8PrivateKey() };
            file.WritePending(pending);
        }
        for (var failures = 1; ; failures++)
        {
            try
            {
                var joined = await TryAsync(pending, server, token, options, time, cancellationToken);
                file.Write(joined);
                file.RemovePending();
                return joined;
            }
            catch (RpcException e) when (!cancellationToken.IsCancellationRequested && HubProblems.Of(e) is null)
            {
                if (failures == 1)
                    log.LogWarning("{Server} does not answer ({Reason}); it is asked until it does", server, e.Status.Detail);
                await Task.Delay(Retry.DelayAfter(failures), time, cancellationToken);
            }
            catch (RpcException e) when (HubProblems.Of(e) is { } refusal)
            {
                throw refusal;
            }
        }
    }

    private static async Task<NodeIdentity> TryAsync(
        NodeIdentity pending, Uri server, JoinToken token, ClusterOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        using var authority = await AskForAuthorityAsync(server, token, options, time, cancellationToken);
        var verifier = new PeerVerifier(authority, time);
        using var channel = Open(server, PeerTls.Calling(null, certificate => verifier.Called(certificate) is { Role: PeerRole.Server }, options.ConnectionLifetime));
        using var key = pending.LoadKey();
        var answer = await new NodeHub.NodeHubClient(channel).JoinAsync(
            new JoinRequest
            {
                Secret = token.Secret,
                NodeId = pending.NodeId,
                SigningRequest = ByteString.CopyFrom(CertificateProfile.NewSigningRequest(key)),
            },
            deadline: time.GetUtcNow().UtcDateTime + options.CallTimeout,
            cancellationToken: cancellationToken);
        var certificate = answer.Certificate.ToByteArray();
        if (!IsOurs(certificate, key, pending.NodeId, verifier))
            throw new JoinException(ProblemCodes.Internal, $"{server} gave this host a certificate that is not its own; are the clocks of the two right?");
        return pending with
        {
            Certificate = certificate,
            Authority = authority.RawData,
            Servers = answer.Servers.Count > 0 ? [.. answer.Servers] : [server.GetLeftPart(UriPartial.Authority)],
        };
    }

    /// <summary>Whether a certificate is for a key and a node, and of their cluster.</summary>
    internal static bool IsOurs(byte[] certificate, ECDsa key, string nodeId, PeerVerifier verifier)
    {
        try
        {
            using var loaded = X509CertificateLoader.LoadCertificate(certificate);
            return verifier.Caller(loaded) == new PeerIdentity(PeerRole.Node, nodeId)
                && loaded.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(key.ExportSubjectPublicKeyInfo());
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    internal static GrpcChannel Open(Uri server, SocketsHttpHandler handler) => GrpcChannel.ForAddress(
        server, new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true, MaxReceiveMessageSize = 1 << 20 });

    /// <summary>Nothing but this question is asked of a server that may be anybody.</summary>
    private static async Task<X509Certificate2> AskForAuthorityAsync(
        Uri server, JoinToken token, ClusterOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        using var channel = Open(server, PeerTls.Calling(null, _ => true, options.ConnectionLifetime));
        var answer = await new NodeHub.NodeHubClient(channel).GetAuthorityAsync(
            new GetAuthorityRequest(), deadline: time.GetUtcNow().UtcDateTime + options.CallTimeout, cancellationToken: cancellationToken);
        var certificate = answer.Certificate.ToByteArray();
        if (!CryptographicOperations.FixedTimeEquals(SHA256.HashData(certificate), token.Authority))
        {
            throw new JoinException(
                ProblemCodes.Unauthorized, $"{server} is not of the cluster this token is for; nothing was told to it. Take the token of 'ravel node join-token' there.");
        }
        return X509CertificateLoader.LoadCertificate(certificate);
    }
}
