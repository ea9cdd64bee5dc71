using System.Text;
using Ravel.Cli.Machines;

namespace Ravel.Unit.Cli;

public sealed class DetachKeysTests
{
    [Theory]
    [InlineData("plain", "plain")]
    [InlineData("a\u0010b", "a\u0010b")]
    [InlineData("a|b\u0010|c", "ab\u0010c")]
    [InlineData("\u0010|\u0010|x", "\u0010\u0010x")]
    [InlineData("\u0010|\u0010\u0011", null)]
    [InlineData("a\u0010\u0011", null)]
    [InlineData("a\u0010|\u0011", null)]
    [InlineData("\u0011\u0010|b", "\u0011\u0010b")]
    public void Only_the_two_keys_together_detach_and_others_arrive(string typed, string? sent)
    {
        var keys = new DetachKeys();
        var passed = new StringBuilder();
        var isDetached = false;
        foreach (var piece in typed.Split('|'))
        {
            var buffer = new byte[piece.Length + 1];
            Encoding.ASCII.GetBytes(piece, buffer);
            var length = keys.Filter(buffer, piece.Length);
            isDetached |= length < 0;
            if (length > 0)
                passed.Append(Encoding.ASCII.GetString(buffer, 0, length));
        }
        Assert.Equal(sent is null, isDetached);
        if (sent is not null)
            Assert.Equal(sent, passed.ToString());
    }
}
