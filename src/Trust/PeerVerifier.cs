using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Ravel.Trust;

/// <summary>Tells whom a certificate proves its holder to be: issued by this cluster's authority, in its time, for this use.</summary>
public sealed class PeerVerifier
{
    private static readonly Oid Client = new(CertificateProfile.ClientAuthentication);
    private static readonly Oid Server = new(CertificateProfile.ServerAuthentication);

    private readonly X509Certificate2 _authority;
    private readonly TimeProvider _time;

    /// <summary>Of certificates of connections, each of which is asked about with every call: building a chain costs more than most calls.</summary>
    private readonly ConditionalWeakTable<X509Certificate2, Verified> _callers = [];

    public PeerVerifier(X509Certificate2 authority, TimeProvider time)
    {
        _authority = authority;
        _time = time;
    }

    /// <summary>The one who called.</summary>
    public PeerIdentity? Caller(X509Certificate2? certificate)
    {
        if (certificate is null)
            return null;
        if (!_callers.TryGetValue(certificate, out var verified))
        {
            // One that is refused is not remembered: its time may come.
            if (Verify(certificate, Client) is not { } identity)
                return null;
            verified = _callers.GetValue(certificate, c => new Verified(identity, CertificateProfile.End(c)));
        }
        return _time.GetUtcNow() < verified.Until ? verified.Identity : null;
    }

    /// <summary>The one who was called.</summary>
    public PeerIdentity? Called(X509Certificate2? certificate) => Verify(certificate, Server);

    private PeerIdentity? Verify(X509Certificate2? certificate, Oid use)
    {
        if (certificate is null)
            return null;
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(_authority);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.ApplicationPolicy.Add(use);
        chain.ChainPolicy.VerificationTime = _time.GetUtcNow().UtcDateTime;
        try
        {
            return chain.Build(certificate) && chain.ChainElements.Count == 2 ? PeerIdentity.Of(certificate) : null;
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    private sealed record Verified(PeerIdentity Identity, DateTimeOffset Until);
}
