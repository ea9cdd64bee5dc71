using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging;
using Ravel.Contracts.Api;
using Ravel.Contracts.Node;
using Ravel.Trust;

namespace Ravel.Agent.Joining;

/// <summary>
/// This host's place in its cluster: joins if it has not, then announces itself to one server, to another when that one fails, and has its
/// certificate replaced in time. Nothing that happens here stops a machine.
/// </summary>
internal sealed class HubLink(ClusterOptions options, NodeIdentityFile file, TimeProvider time, ILogger<HubLink> log) : IDisposable
{
    /// <summary>One that was removed asks again from time to time: an administrator's mistake is mended without a restart.</summary>
    private static readonly TimeSpan RefusedDelay = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan ShortestInterval = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestInterval = TimeSpan.FromSeconds(60);

    private readonly ServerList _servers = new(Random.Shared);
    private NodeIdentity? _identity;
    private GrpcChannel? _channel;
    private string? _channelServer;
    private PeerVerifier? _verifier;
    private bool _triedToken;

    /// <summary>What this host shows to servers, whoever calls.</summary>
    public LiveCertificate Own { get; } = new();

    /// <summary>Whether a caller is a server of this cluster; nobody is before this host has joined.</summary>
    public bool IsServer(System.Security.Cryptography.X509Certificates.X509Certificate2? certificate) =>
        _verifier?.Caller(certificate) is { Role: PeerRole.Server };

    /// <summary>Takes up the identity of before, or joins.</summary>
    /// <exception cref="JoinException">That cannot be, and trying again does not help.</exception>
    public async Task JoinAsync(string nodeId, CancellationToken cancellationToken)
    {
        var known = file.TryRead();
        if (known is { Certificate: not null } && known.NodeId != nodeId)
        {
            throw new JoinException(
                ProblemCodes.IllegalState,
                $"This host joined as node {known.NodeId} and its journal is that of {nodeId}; put the journal back, or remove agent/identity.json and join again.");
        }
        if (known is not { Certificate: not null } || IsOver(known))
        {
            known = options is { Join: { } server, Token: { } token }
                ? await HubJoin.RunAsync(file, nodeId, server, token, options, time, log, cancellationToken)
                : throw new JoinException(
                    ProblemCodes.JoinTokenInvalid,
                    known is { Certificate: not null }
                        ? "This host's certificate has expired while it was away; join again with the command that 'ravel node join-token' prints."
                        : "This host has not joined a cluster; give it --join and --token as 'ravel node join-token' prints them.");
            log.LogInformation("This host joined as node {Node}", nodeId);
        }
        Take(known);
    }

    /// <summary>Announces this node until cancelled.</summary>
    /// <param name="describe">How the node is now.</param>
    /// <param name="address">https://ADDRESS:PORT where it serves, once it does.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task RunAsync(Func<NodeInfo> describe, string address, CancellationToken cancellationToken)
    {
        var wasRefused = false;
        var wasSilent = false;
        while (!cancellationToken.IsCancellationRequested)
        {
            TimeSpan delay;
            try
            {
                delay = await AnnounceAsync(describe(), address, cancellationToken);
                if (wasSilent || wasRefused)
                    log.LogInformation("{Server} answers", _servers.Current);
                wasSilent = wasRefused = false;
            }
            catch (Exception) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (RpcException e) when (HubProblems.Of(e) is { } refusal)
            {
                if (refusal.Code == ProblemCodes.NodeRemoved && await TryJoinAgainAsync(cancellationToken))
                    continue;
                if (!wasRefused)
                    log.LogError("{Server} refuses this node: {Reason} Its machines run on", _servers.Current, refusal.Message);
                wasRefused = true;
                delay = _servers.Failed() + RefusedDelay;
            }
            catch (Exception e)
            {
                if (!wasSilent)
                    log.LogWarning("{Server} does not answer ({Reason}); machines run on", _servers.Current, e.Message);
                wasSilent = true;
                delay = _servers.Failed();
            }
            await Task.Delay(delay, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public void Dispose() => Disconnect();

    private void Take(NodeIdentity identity)
    {
        _identity = identity;
        _verifier = new PeerVerifier(System.Security.Cryptography.X509Certificates.X509CertificateLoader.LoadCertificate(identity.Authority!), time);
        Own.Replace(identity.Load());
        _servers.Update(identity.Servers.Count > 0 ? identity.Servers : options.Join is { } hub ? [hub.GetLeftPart(UriPartial.Authority)] : []);
        Disconnect();
    }

    /// <summary>A node that was taken out comes back with a token of after that. One it used before is refused once, and not tried again.</summary>
    private async Task<bool> TryJoinAgainAsync(CancellationToken cancellationToken)
    {
        if (_triedToken || options is not { Join: { } server, Token: { } token })
            return false;
        _triedToken = true;
        try
        {
            Take(await HubJoin.RunAsync(file, _identity!.NodeId, server, token, options, time, log, cancellationToken));
        }
        catch (Exception e) when (e is JoinException || cancellationToken.IsCancellationRequested)
        {
            return false;
        }
        log.LogInformation("This host joined again as node {Node}", _identity!.NodeId);
        return true;
    }

    /// <summary>The next call shows the certificate of then.</summary>
    private void Disconnect()
    {
        _channel?.Dispose();
        _channel = null;
    }

    private bool IsOver(NodeIdentity identity)
    {
        using var certificate = identity.Load();
        return time.GetUtcNow() >= CertificateProfile.End(certificate);
    }

    private async Task<TimeSpan> AnnounceAsync(NodeInfo node, string address, CancellationToken cancellationToken)
    {
        if (Own.IsDue(time.GetUtcNow()))
            await RenewAsync(Client(), cancellationToken);
        var answer = await Client().AnnounceAsync(new AnnounceRequest { Node = node, Address = address }, Call(cancellationToken));
        _servers.Answered();
        if (_servers.Update(answer.Servers.Where(IsHub)))
        {
            _identity = _identity! with { Servers = [.. _servers.Servers] };
            file.Write(_identity);
        }
        var interval = answer.Interval?.ToTimeSpan() ?? LongestInterval;
        return interval < ShortestInterval ? ShortestInterval : interval > LongestInterval ? LongestInterval : interval;
    }

    /// <summary>A new key with each certificate. It is kept before it is shown; until then the old one is good.</summary>
    private async Task RenewAsync(NodeHub.NodeHubClient hub, CancellationToken cancellationToken)
    {
        using var key = CertificateProfile.NewKey();
        var answer = await hub.RenewAsync(
            new RenewRequest { SigningRequest = ByteString.CopyFrom(CertificateProfile.NewSigningRequest(key)) }, Call(cancellationToken));
        var certificate = answer.Certificate.ToByteArray();
        if (!HubJoin.IsOurs(certificate, key, _identity!.NodeId, _verifier!))
            throw new InvalidOperationException("It gave this host a certificate that is not its own.");
        _identity = _identity with { Key = key.ExportPkcs8PrivateKey(), Certificate = certificate };
        file.Write(_identity);
        Own.Replace(_identity.Load());
        Disconnect();
        log.LogInformation("This node's certificate was renewed");
    }

    private NodeHub.NodeHubClient Client()
    {
        var server = _servers.Current ?? throw new InvalidOperationException("No server is known.");
        if (_channel is null || _channelServer != server)
        {
            Disconnect();
            _channel = HubJoin.Open(
                new Uri(server),
                PeerTls.Calling(Own, certificate => _verifier!.Called(certificate) is { Role: PeerRole.Server }, options.ConnectionLifetime));
            _channelServer = server;
        }
        return new NodeHub.NodeHubClient(_channel);
    }

    private static bool IsHub(string server) =>
        Uri.TryCreate(server, UriKind.Absolute, out var uri) && uri.Scheme == Uri.UriSchemeHttps;

    private CallOptions Call(CancellationToken cancellationToken) =>
        new(deadline: time.GetUtcNow().UtcDateTime + options.CallTimeout, cancellationToken: cancellationToken);
}
