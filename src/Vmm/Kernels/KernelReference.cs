using System.Buffers;
using System.Text;

namespace Ravel.Vmm.Kernels;

/// <summary>How kernels are named: by a name of their own, or by digest.</summary>
public static class KernelReference
{
    public const int MaxLength = 64;
    public const string DigestPrefix = "sha256:";
    public const int DigestDigits = 64;
    private const int FewestDigits = 4;

    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    public static bool IsValid(string name) =>
        name.Length is > 0 and <= MaxLength && char.IsAsciiLetterOrDigit(name[0]) && name.All(IsPlain)
        && name != IGuestKernels.Stock;

    /// <summary>The nearest valid name to a kernel's own words.</summary>
    public static string From(string release)
    {
        var name = new StringBuilder();
        foreach (var c in release.Take(MaxLength))
            name.Append(IsPlain(c) ? c : '-');
        var trimmed = name.ToString().TrimStart('-', '.', '_');
        return IsValid(trimmed) ? trimmed : "kernel";
    }

    public static bool IsDigest(string text) =>
        text.Length == DigestPrefix.Length + DigestDigits && text.StartsWith(DigestPrefix, StringComparison.Ordinal)
        && text.AsSpan(DigestPrefix.Length).IndexOfAnyExcept(HexDigits) < 0;

    /// <summary>Whether a reference may be the beginning of that digest, written with or without its prefix.</summary>
    public static bool IsPrefix(string reference, string digest)
    {
        var digits = reference.StartsWith(DigestPrefix, StringComparison.Ordinal) ? reference[DigestPrefix.Length..] : reference;
        return digits.Length >= FewestDigits && digest.AsSpan(DigestPrefix.Length).StartsWith(digits, StringComparison.Ordinal);
    }

    private static bool IsPlain(char c) => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_' or '+';
}
