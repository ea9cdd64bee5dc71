using System.Buffers;
using System.Security.Cryptography;

namespace Ravel.Images.Manifests;

/// <summary>The SHA-256 of a blob, <c>sha256:</c> and 64 lower-case hex digits. Other algorithms are not in use by registries.</summary>
internal readonly record struct Digest
{
    public const string Prefix = "sha256:";

    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    private readonly string _hex;

    private Digest(string hex) => _hex = hex;

    /// <summary>64 hex digits; safe as a file name.</summary>
    public string Hex => _hex ?? throw new InvalidOperationException("A digest was used before it was set.");

    public static bool TryParse(string? text, out Digest digest)
    {
        digest = default;
        if (text is null || !text.StartsWith(Prefix, StringComparison.Ordinal) || text.Length != Prefix.Length + 64)
            return false;
        var hex = text[Prefix.Length..];
        if (hex.AsSpan().ContainsAnyExcept(HexDigits))
            return false;
        digest = new Digest(hex);
        return true;
    }

    /// <exception cref="ImageException"><c>image-invalid</c>, saying what was expected.</exception>
    public static Digest Parse(string? text, string what) =>
        TryParse(text, out var digest)
            ? digest
            : throw new ImageException("image-invalid", $"{what} is not a sha256 digest: {Shorten(text)}");

    public static Digest Of(ReadOnlySpan<byte> content) => new(Convert.ToHexStringLower(SHA256.HashData(content)));

    public static Digest Of(IncrementalHash hash) => new(Convert.ToHexStringLower(hash.GetHashAndReset()));

    public byte[] ToBytes() => Convert.FromHexString(Hex);

    public override string ToString() => Prefix + Hex;

    private static string Shorten(string? text) => text switch
    {
        null => "(nothing)",
        { Length: > 100 } => text[..100],
        _ => text,
    };
}
