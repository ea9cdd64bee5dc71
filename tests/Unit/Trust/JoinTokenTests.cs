using System.Security.Cryptography;
using Ravel.Trust;

namespace Ravel.Unit.Trust;

public sealed class JoinTokenTests
{
    private static readonly byte[] Authority = SHA256.HashData("authority"u8);

    [Fact]
    public void A_token_is_read_as_it_was_written()
    {
        var token = JoinToken.New(Authority);

        Assert.True(JoinToken.TryParse(token.Text, out var read));
        Assert.Equal((token.Secret, token.Text), (read.Secret, read.Text));
        Assert.Equal(Authority, read.Authority);
    }

    [Fact]
    public void No_two_are_the_same() => Assert.NotEqual(JoinToken.New(Authority).Secret, JoinToken.New(Authority).Secret);

    [Fact]
    public void What_is_cut_off_extended_or_changed_in_form_is_none()
    {
        var text = JoinToken.New(Authority).Text;

        for (var i = 0; i < text.Length; i++)
            Assert.False(JoinToken.TryParse(text[..i], out _));
        Assert.False(JoinToken.TryParse(text + "A", out _));
        Assert.False(JoinToken.TryParse(text.Replace('.', ':'), out _));
        Assert.False(JoinToken.TryParse("rvk_" + text[4..], out _));
        Assert.False(JoinToken.TryParse("rvj_" + text[4..68].ToUpperInvariant() + text[68..], out _));
        Assert.False(JoinToken.TryParse(text[..^1] + "=", out _));
    }
}
