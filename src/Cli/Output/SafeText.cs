using System.Text;

namespace Ravel.Cli.Output;

/// <summary>
/// Text that came from somewhere else, made harmless for a terminal: control characters, which could move the cursor,
/// recolour or retitle it, and bidirectional overrides become U+FFFD.
/// </summary>
internal static class SafeText
{
    public static string Of(string? text)
    {
        if (text is null)
            return "";
        if (!text.AsSpan().ContainsAnyInRange('\0', '\x1f') && !text.AsSpan().ContainsAnyInRange('\x7f', '\x9f') && !HasOverride(text))
            return text;
        var safe = new StringBuilder(text.Length);
        foreach (var c in text)
            safe.Append(char.IsControl(c) || IsOverride(c) ? '\uFFFD' : c);
        return safe.ToString();
    }

    private static bool HasOverride(string text)
    {
        foreach (var c in text)
        {
            if (IsOverride(c))
                return true;
        }
        return false;
    }

    private static bool IsOverride(char c) => c is >= '\u202A' and <= '\u202E' or >= '\u2066' and <= '\u2069';
}
