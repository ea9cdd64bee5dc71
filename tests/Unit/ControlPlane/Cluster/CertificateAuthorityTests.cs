using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Time.Testing;
using Ravel.ControlPlane.Cluster;
using Ravel.Trust;

namespace Ravel.Unit.ControlPlane.Cluster;

public sealed class CertificateAuthorityTests : IDisposable
{
    private readonly FakeTimeProvider _time = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly CertificateAuthority _authority;
    private readonly PeerVerifier _verifier;

    public CertificateAuthorityTests()
    {
        _authority = CertificateAuthority.Create(_time.GetUtcNow());
        _verifier = new PeerVerifier(_authority.Certificate, _time);
    }

    public void Dispose() => _authority.Dispose();

    [Fact]
    public void What_it_issues_proves_its_holder_from_two_hours_before_to_its_end()
    {
        var node = new PeerIdentity(PeerRole.Node, "n1");
        using var certificate = _authority.IssueWithKey(node, TimeSpan.FromDays(7), _time.GetUtcNow());

        Assert.Equal(node, At(TimeSpan.FromHours(-1.9), certificate));
        Assert.Equal(node, At(TimeSpan.FromDays(6.9), certificate));
        Assert.Null(At(TimeSpan.FromHours(-2.1), certificate));
        Assert.Null(At(TimeSpan.FromDays(7.1), certificate));
        // The first answer is remembered; that the certificate ended is not forgotten for it.
        Assert.Equal(node, _verifier.Caller(certificate));
        _time.Advance(TimeSpan.FromDays(8));
        Assert.Null(_verifier.Caller(certificate));
    }

    [Fact]
    public void Another_authority_of_the_same_name_proves_nothing()
    {
        using var other = CertificateAuthority.Create(_time.GetUtcNow());
        using var certificate = other.IssueWithKey(new PeerIdentity(PeerRole.Server, "s1"), TimeSpan.FromDays(1), _time.GetUtcNow());

        Assert.Null(_verifier.Caller(certificate));
        Assert.Null(_verifier.Called(certificate));
    }

    [Fact]
    public void A_holder_can_issue_nothing()
    {
        using var node = _authority.IssueWithKey(new PeerIdentity(PeerRole.Node, "n1"), TimeSpan.FromDays(7), _time.GetUtcNow());
        using var key = CertificateProfile.NewKey();
        var request = new CertificateRequest(new PeerIdentity(PeerRole.Server, "s1").ToSubject(), key, HashAlgorithmName.SHA256);
        using var forged = request.Create(
            node.SubjectName, X509SignatureGenerator.CreateForECDsa(node.GetECDsaPrivateKey()!), _time.GetUtcNow(), _time.GetUtcNow().AddDays(1), [1]);

        Assert.Null(_verifier.Caller(forged));
    }

    [Fact]
    public void The_authority_itself_is_nobody() => Assert.Null(_verifier.Caller(_authority.Certificate));

    [Fact]
    public void A_signing_request_is_read_for_its_key_only_when_it_proves_to_have_it()
    {
        using var key = CertificateProfile.NewKey();
        var request = CertificateProfile.NewSigningRequest(key);

        Assert.NotNull(CertificateAuthority.ReadSigningRequest(request));
        for (var i = 0; i < request.Length; i++)
        {
            byte[] changed = [.. request];
            changed[i] ^= 0x10;
            if (CertificateAuthority.ReadSigningRequest(changed) is { } read)
                Assert.Fail($"With byte {i} changed it is taken, for {Convert.ToHexString(read.EncodedKeyValue.RawData)}.");
        }
        Assert.Null(CertificateAuthority.ReadSigningRequest((byte[])[.. request, 0]));
        Assert.Null(CertificateAuthority.ReadSigningRequest(new byte[CertificateAuthority.MaxSigningRequest + 1]));
    }

    [Fact]
    public void Keys_of_other_kinds_are_not_signed()
    {
        using var rsa = RSA.Create(2048);
        using var p384 = ECDsa.Create(ECCurve.NamedCurves.nistP384);
        var subject = new X500DistinguishedName("CN=node");

        Assert.Null(CertificateAuthority.ReadSigningRequest(
            new CertificateRequest(subject, rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSigningRequest()));
        Assert.Null(CertificateAuthority.ReadSigningRequest(new CertificateRequest(subject, p384, HashAlgorithmName.SHA384).CreateSigningRequest()));
    }

    private PeerIdentity? At(TimeSpan offset, X509Certificate2 certificate)
    {
        var time = new FakeTimeProvider(_time.GetUtcNow() + offset);
        return new PeerVerifier(_authority.Certificate, time).Caller(certificate);
    }
}
