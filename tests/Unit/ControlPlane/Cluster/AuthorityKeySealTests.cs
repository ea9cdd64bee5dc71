using System.Security.Cryptography;
using Ravel.ControlPlane.Cluster;

namespace Ravel.Unit.ControlPlane.Cluster;

public sealed class AuthorityKeySealTests
{
    private static readonly byte[] Secret = [.. Enumerable.Range(0, AuthorityKeySeal.MinSecret).Select(i => (byte)i)];
    private static readonly byte[] Certificate = [1, 2, 3];
    private static readonly byte[] Key = [9, 8, 7, 6];

    [Fact]
    public void What_is_sealed_opens_with_the_same_secret_beside_the_same_certificate_only()
    {
        var made = AuthorityKeySeal.Seal(Key, Certificate, Secret);

        Assert.Equal(Key, AuthorityKeySeal.TryOpen(made, Certificate, Secret));
        Assert.Null(AuthorityKeySeal.TryOpen(made, [1, 2, 4], Secret));
        Assert.Null(AuthorityKeySeal.TryOpen(made, Certificate, RandomNumberGenerator.GetBytes(32)));
    }

    [Fact]
    public void No_byte_of_it_can_be_changed_and_none_left_out()
    {
        var made = AuthorityKeySeal.Seal(Key, Certificate, Secret);

        for (var i = 0; i < made.Length; i++)
        {
            byte[] changed = [.. made];
            changed[i] ^= 1;
            Assert.Null(AuthorityKeySeal.TryOpen(changed, Certificate, Secret));
            Assert.Null(AuthorityKeySeal.TryOpen(made[..i], Certificate, Secret));
        }
    }
}
