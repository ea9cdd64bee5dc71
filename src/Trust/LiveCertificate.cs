using System.Net.Security;
using System.Security.Cryptography.X509Certificates;

namespace Ravel.Trust;

/// <summary>
/// The certificate a process shows now. Replacing it reaches every connection made from then on; those that are open stay as they are, and
/// the old certificate is not disposed of, because a handshake may be using it.
/// </summary>
public sealed class LiveCertificate
{
    private volatile SslStreamCertificateContext? _context;

    /// <summary>Null until there is one.</summary>
    public SslStreamCertificateContext? Context => _context;

    public X509Certificate2? Certificate => _context?.TargetCertificate;

    /// <param name="certificate">With its private key.</param>
    public void Replace(X509Certificate2 certificate) =>
        _context = SslStreamCertificateContext.Create(certificate, additionalCertificates: null, offline: true);

    /// <summary>Whether it is time for another; true when there is none.</summary>
    public bool IsDue(DateTimeOffset now) => Certificate is not { } certificate || now >= CertificateProfile.RenewalOf(certificate);
}
