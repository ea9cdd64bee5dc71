using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;

namespace Ravel.Trust;

/// <summary>
/// What a host joins with: <c>rvj_</c>, the SHA-256 of the authority's certificate in hexadecimal, a dot, and a secret of 256 random
/// bits. With the first the host knows the cluster before it shows the second, as with the tokens of kubeadm and k3s.
/// </summary>
public sealed class JoinToken
{
    private const string Prefix = "rvj_";
    private const int HashDigits = 64;
    private const int SecretLength = 43;

    private JoinToken(byte[] authority, string secret)
    {
        Authority = authority;
        Secret = secret;
    }

    /// <summary>SHA-256 of the authority's certificate.</summary>
    public byte[] Authority { get; }

    /// <summary>What the server is told.</summary>
    public string Secret { get; }

    public static JoinToken New(byte[] authority) => new(authority, Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32)));

    public static bool TryParse(string text, [NotNullWhen(true)] out JoinToken? token)
    {
        token = null;
        if (text.Length != Prefix.Length + HashDigits + 1 + SecretLength
            || !text.StartsWith(Prefix, StringComparison.Ordinal)
            || text[Prefix.Length + HashDigits] != '.'
            || !text.AsSpan(Prefix.Length, HashDigits).ToString().All(char.IsAsciiHexDigitLower)
            || !IsSecret(text[^SecretLength..]))
            return false;
        token = new JoinToken(Convert.FromHexString(text.AsSpan(Prefix.Length, HashDigits)), text[^SecretLength..]);
        return true;
    }

    /// <summary>Cheap look before any work: what cannot be a secret is not looked up.</summary>
    public static bool IsSecret(string text) =>
        text.Length == SecretLength && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_');

    /// <summary>What is kept of a secret; with that much entropy no slow hash is needed.</summary>
    public static byte[] HashOf(string secret) => SHA256.HashData(Encoding.UTF8.GetBytes(secret));

    /// <summary>The whole token, secret and all, for the one who asked for it.</summary>
    public string Text => $"{Prefix}{Convert.ToHexStringLower(Authority)}.{Secret}";
}
