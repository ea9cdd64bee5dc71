using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Ravel.Trust;

/// <summary>How certificates of a cluster look, and when they are due.</summary>
public static class CertificateProfile
{
    public const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";
    public const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    /// <summary>Certificates begin so long before they are made: hosts whose clocks are behind by less believe them at once.</summary>
    public static readonly TimeSpan ClockTolerance = TimeSpan.FromHours(2);

    /// <summary>ECDSA over P-256: small, and everywhere.</summary>
    public static ECCurve Curve => ECCurve.NamedCurves.nistP256;

    public static ECDsa NewKey() => ECDsa.Create(Curve);

    /// <summary>When a certificate is to be replaced: at two thirds of its life.</summary>
    public static DateTimeOffset RenewalOf(X509Certificate2 certificate)
    {
        var begin = Begin(certificate);
        return begin + (End(certificate) - begin) * 2 / 3;
    }

    public static DateTimeOffset End(X509Certificate2 certificate) => new(certificate.NotAfter.ToUniversalTime(), TimeSpan.Zero);

    /// <summary>The SHA-256 by which a certificate is known, over its DER form.</summary>
    public static byte[] Fingerprint(X509Certificate2 certificate) => SHA256.HashData(certificate.RawDataMemory.Span);

    /// <summary>The SHA-256 of a public key, over its SubjectPublicKeyInfo.</summary>
    public static byte[] KeyHash(PublicKey key) => SHA256.HashData(key.ExportSubjectPublicKeyInfo());

    /// <summary>A signing request of a key: proof that who sends it has the key. What it shall be called is the signer's to say.</summary>
    public static byte[] NewSigningRequest(ECDsa key) =>
        new CertificateRequest(new X500DistinguishedName("CN=node"), key, HashAlgorithmName.SHA256).CreateSigningRequest();

    private static DateTimeOffset Begin(X509Certificate2 certificate) =>
        new DateTimeOffset(certificate.NotBefore.ToUniversalTime(), TimeSpan.Zero) + ClockTolerance;
}
