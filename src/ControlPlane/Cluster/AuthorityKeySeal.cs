using System.Security.Cryptography;

namespace Ravel.ControlPlane.Cluster;

/// <summary>
/// Wraps the authority's key for the database with a secret that is not in it: AES-256-GCM under HKDF-SHA256 of the secret. The sealed form is
/// nonce, tag, ciphertext; the certificate is authenticated with it, so that no other can be put beside the key.
/// </summary>
internal static class AuthorityKeySeal
{
    /// <summary>Of the secret, in bytes.</summary>
    public const int MinSecret = 32;

    private const int Nonce = 12;
    private const int Tag = 16;

    public static byte[] Seal(byte[] key, byte[] certificate, byte[] secret)
    {
        var result = new byte[Nonce + Tag + key.Length];
        RandomNumberGenerator.Fill(result.AsSpan(0, Nonce));
        using var cipher = new AesGcm(Derive(secret), Tag);
        cipher.Encrypt(result.AsSpan(0, Nonce), key, result.AsSpan(Nonce + Tag), result.AsSpan(Nonce, Tag), certificate);
        return result;
    }

    /// <summary>Null when the secret is another, or what was kept was changed.</summary>
    public static byte[]? TryOpen(byte[] sealedKey, byte[] certificate, byte[] secret)
    {
        if (sealedKey.Length <= Nonce + Tag)
            return null;
        var key = new byte[sealedKey.Length - Nonce - Tag];
        using var cipher = new AesGcm(Derive(secret), Tag);
        try
        {
            cipher.Decrypt(sealedKey.AsSpan(0, Nonce), sealedKey.AsSpan(Nonce + Tag), sealedKey.AsSpan(Nonce, Tag), key, certificate);
            return key;
        }
        catch (AuthenticationTagMismatchException)
        {
            return null;
        }
    }

    private static byte[] Derive(byte[] secret) =>
        HKDF.DeriveKey(HashAlgorithmName.SHA256, secret, 32, info: "ravel cluster authority"u8.ToArray());
}
