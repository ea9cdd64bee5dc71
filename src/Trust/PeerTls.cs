using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace Ravel.Trust;

/// <summary>TLS between servers and nodes: version 1.3, certificates of the cluster alone, no names of hosts.</summary>
public static class PeerTls
{
    /// <summary>The end that is called.</summary>
    /// <param name="own">What it shows.</param>
    /// <param name="accepts">Whether the caller may stay; null is one without a certificate.</param>
    /// <exception cref="AuthenticationException">There is no certificate to show yet.</exception>
    public static SslServerAuthenticationOptions Called(LiveCertificate own, Func<X509Certificate2?, bool> accepts) => new()
    {
        ServerCertificateContext = own.Context ?? throw new AuthenticationException("This host has not joined its cluster yet."),
        ClientCertificateRequired = true,
        RemoteCertificateValidationCallback = (_, certificate, _, _) => accepts(certificate as X509Certificate2),
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        EnabledSslProtocols = SslProtocols.Tls13,
        // A resumed session would bring back a caller that is not welcome any more.
        AllowTlsResume = false,
    };

    /// <summary>The end that calls, with whatever it has to show at the time of each connection.</summary>
    /// <param name="own">What it shows; null: nothing.</param>
    /// <param name="accepts">Whether the one that was called is the one that is wanted.</param>
    /// <param name="renewConnectionsAfter">Connections older than this take no new calls, so that none lives on an old certificate for long.</param>
    public static SocketsHttpHandler Calling(LiveCertificate? own, Func<X509Certificate2?, bool> accepts, TimeSpan renewConnectionsAfter) => new()
    {
        PooledConnectionLifetime = renewConnectionsAfter,
        ConnectTimeout = TimeSpan.FromSeconds(5),
        // A host that vanished without a word is noticed while a stream is silent.
        KeepAlivePingDelay = TimeSpan.FromSeconds(5),
        KeepAlivePingTimeout = TimeSpan.FromSeconds(5),
        UseProxy = false,
        SslOptions = new SslClientAuthenticationOptions
        {
            LocalCertificateSelectionCallback = (_, _, _, _, _) => own?.Certificate!,
            RemoteCertificateValidationCallback = (_, certificate, _, _) => accepts(certificate as X509Certificate2),
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
            EnabledSslProtocols = SslProtocols.Tls13,
            AllowTlsResume = false,
        },
    };
}
