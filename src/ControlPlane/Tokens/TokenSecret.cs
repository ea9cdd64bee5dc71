using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace Ravel.ControlPlane.Tokens;

/// <summary>
/// The secret of a token: <c>rvl_</c> and 256 random bits in base64url. Only its SHA-256 is stored: with that much entropy no
/// slow hash is needed.
/// </summary>
internal static class TokenSecret
{
    public const string Prefix = "rvl_";
    private const int RandomBytes = 32;
    private const int Length = 4 + 43;

    public static string New() => Prefix + Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(RandomBytes));

    public static byte[] Hash(string secret) => SHA256.HashData(Encoding.UTF8.GetBytes(secret));

    /// <summary>Cheap look before any work: what can't be a secret isn't looked up.</summary>
    public static bool IsWellFormed(string text) => text.Length == Length && text.StartsWith(Prefix, StringComparison.Ordinal);

    public static bool Matches(string secret, byte[] hash) => CryptographicOperations.FixedTimeEquals(Hash(secret), hash);
}
