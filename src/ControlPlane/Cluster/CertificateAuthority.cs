using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Ravel.Trust;

namespace Ravel.ControlPlane.Cluster;

/// <summary>Signs the certificates of a cluster's servers and nodes. What stands in them is said here, never by who asks.</summary>
internal sealed class CertificateAuthority : IDisposable
{
    /// <summary>Of a signing request; one for a P-256 key has some 200 bytes.</summary>
    public const int MaxSigningRequest = 4 << 10;

    private const string P256 = "1.2.840.10045.3.1.7";
    private static readonly TimeSpan Lifetime = TimeSpan.FromDays(3650);

    private readonly ECDsa _key;

    private CertificateAuthority(X509Certificate2 certificate, ECDsa key)
    {
        Certificate = certificate;
        _key = key;
    }

    /// <summary>Without its key.</summary>
    public X509Certificate2 Certificate { get; }

    public static CertificateAuthority Create(DateTimeOffset now)
    {
        var key = CertificateProfile.NewKey();
        var request = new CertificateRequest("CN=Ravel cluster", key, HashAlgorithmName.SHA256);
        // It signs no authorities.
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using var certificate = request.CreateSelfSigned(now - CertificateProfile.ClockTolerance, now + Lifetime);
        return new CertificateAuthority(X509CertificateLoader.LoadCertificate(certificate.RawData), key);
    }

    /// <exception cref="CryptographicException">These are not a certificate and its key.</exception>
    public static CertificateAuthority Load(byte[] certificate, byte[] key)
    {
        var loaded = ECDsa.Create();
        loaded.ImportPkcs8PrivateKey(key, out _);
        return new CertificateAuthority(X509CertificateLoader.LoadCertificate(certificate), loaded);
    }

    /// <summary>PKCS #8.</summary>
    public byte[] ExportKey() => _key.ExportPkcs8PrivateKey();

    /// <summary>The key of a signing request, whose sender has proved to have it; null when the request is not one to sign.</summary>
    public static PublicKey? ReadSigningRequest(ReadOnlyMemory<byte> request)
    {
        if (request.Length is 0 or > MaxSigningRequest)
            return null;
        try
        {
            // Checks the signature. Names and extensions that are asked for are not read.
            var loaded = CertificateRequest.LoadSigningRequest(request.Span, HashAlgorithmName.SHA256, out var read, CertificateRequestLoadOptions.Default);
            using var key = loaded.PublicKey.GetECDsaPublicKey();
            return read == request.Length && key?.ExportParameters(false).Curve.Oid.Value == P256 ? loaded.PublicKey : null;
        }
        catch (Exception e) when (e is CryptographicException or NotSupportedException or ArgumentException)
        {
            return null;
        }
    }

    /// <summary>A certificate with which its holder calls and is called.</summary>
    public X509Certificate2 Issue(PeerIdentity holder, PublicKey key, TimeSpan lifetime, DateTimeOffset now)
    {
        var request = new CertificateRequest(holder.ToSubject(), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension(
            [new Oid(CertificateProfile.ServerAuthentication), new Oid(CertificateProfile.ClientAuthentication)], true));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(Certificate, true, false));
        var end = now + lifetime;
        var last = CertificateProfile.End(Certificate);
        return request.Create(
            Certificate.SubjectName,
            X509SignatureGenerator.CreateForECDsa(_key),
            now - CertificateProfile.ClockTolerance,
            end < last ? end : last,
            NewSerial());
    }

    /// <summary>A certificate with a key of this process.</summary>
    public X509Certificate2 IssueWithKey(PeerIdentity holder, TimeSpan lifetime, DateTimeOffset now)
    {
        using var key = CertificateProfile.NewKey();
        using var certificate = Issue(holder, new PublicKey(key), lifetime, now);
        return certificate.CopyWithPrivateKey(key);
    }

    public void Dispose()
    {
        _key.Dispose();
        Certificate.Dispose();
    }

    /// <summary>Positive, and of the same length always (RFC 5280, 4.1.2.2).</summary>
    private static byte[] NewSerial()
    {
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7f) | 0x40);
        return serial;
    }
}
