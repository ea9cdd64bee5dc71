using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Ravel.Trust;

namespace Ravel.Unit.Trust;

public sealed class PeerIdentityTests
{
    [Theory]
    [InlineData("CN=a, O=ravel:node", PeerRole.Node)]
    [InlineData("O=ravel:server, CN=a", PeerRole.Server)]
    public void A_subject_says_who_it_is(string subject, PeerRole role) => Assert.Equal(new PeerIdentity(role, "a"), Of(subject));

    [Theory]
    [InlineData("CN=a")]
    [InlineData("O=ravel:node")]
    [InlineData("CN=a, O=ravel")]
    [InlineData("CN=a, CN=b, O=ravel:node")]
    [InlineData("CN=a, O=ravel:node, O=ravel:server")]
    [InlineData("CN=a, O=ravel:node, OU=x")]
    [InlineData("CN=a/b, O=ravel:node")]
    [InlineData("CN=a + OU=x, O=ravel:node")]
    public void A_subject_that_says_less_or_more_says_nothing(string subject) => Assert.Null(Of(subject));

    [Theory]
    [InlineData("")]
    [InlineData("a b")]
    [InlineData("a,O=ravel:server")]
    [InlineData("ä")]
    public void An_id_of_other_characters_cannot_be_certified(string id)
    {
        Assert.False(PeerIdentity.IsId(id));
        Assert.Throws<ArgumentException>(() => new PeerIdentity(PeerRole.Node, id).ToSubject());
    }

    [Fact]
    public void An_id_has_64_characters_at_most()
    {
        Assert.True(PeerIdentity.IsId(new string('a', 64)));
        Assert.False(PeerIdentity.IsId(new string('a', 65)));
    }

    private static PeerIdentity? Of(string subject)
    {
        using var key = CertificateProfile.NewKey();
        using var certificate = new CertificateRequest(subject, key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(100));
        return PeerIdentity.Of(certificate);
    }
}
