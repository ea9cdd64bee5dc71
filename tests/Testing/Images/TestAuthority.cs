using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Ravel.Testing.Images;

/// <summary>A certificate authority of one test, and certificates of it.</summary>
public sealed class TestAuthority : IDisposable
{
    private readonly X509Certificate2 _certificate;

    public TestAuthority(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        _certificate = request.CreateSelfSigned(Now.AddYears(-2), Now.AddYears(2));
    }

    public string Pem => _certificate.ExportCertificatePem();

    private static DateTimeOffset Now => TimeProvider.System.GetUtcNow();

    /// <param name="name">Host name it is for; 127.0.0.1 is in it, too, when that is <c>localhost</c>.</param>
    /// <param name="isExpired">It was good until yesterday.</param>
    public X509Certificate2 Issue(string name, bool isExpired = false)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(name);
        if (name == "localhost")
            names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        var serial = RandomNumberGenerator.GetBytes(8);
        using var certificate = request.Create(_certificate, Now.AddYears(-1), isExpired ? Now.AddDays(-1) : Now.AddYears(1), serial);
        return certificate.CopyWithPrivateKey(key);
    }

    public void Dispose() => _certificate.Dispose();
}
