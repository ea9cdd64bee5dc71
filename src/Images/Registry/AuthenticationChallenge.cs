using System.Text;

namespace Ravel.Images.Registry;

/// <summary>What a registry asks for: a <c>WWW-Authenticate</c> header (RFC 9110, section 11; distribution's token specification).</summary>
/// <param name="Scheme">Lower case.</param>
internal sealed record AuthenticationChallenge(string Scheme, IReadOnlyDictionary<string, string> Parameters)
{
    /// <summary>The challenges of one header value, which may be several behind commas. What is none of that is passed over.</summary>
    public static IReadOnlyList<AuthenticationChallenge> Parse(string header)
    {
        var challenges = new List<AuthenticationChallenge>();
        Dictionary<string, string>? parameters = null;
        var rest = header.AsSpan();
        while (!(rest = rest.TrimStart(" \t,")).IsEmpty)
        {
            var end = rest.IndexOfAny(" \t,=");
            var word = end < 0 ? rest : rest[..end];
            rest = end < 0 ? default : rest[end..];
            var following = rest.TrimStart(" \t");
            if (following is ['=', ..] && parameters is not null)
            {
                var value = Value(following[1..].TrimStart(" \t"), out rest);
                parameters[word.ToString()] = value;
            }
            else if (!word.IsEmpty)
            {
                parameters = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
                challenges.Add(new AuthenticationChallenge(word.ToString().ToLowerInvariant(), parameters));
            }
            else
            {
                rest = rest[1..];
            }
        }
        return challenges;
    }

    private static string Value(ReadOnlySpan<char> text, out ReadOnlySpan<char> rest)
    {
        if (text is not ['"', ..])
        {
            var end = text.IndexOf(',');
            rest = end < 0 ? default : text[end..];
            return (end < 0 ? text : text[..end]).Trim().ToString();
        }
        var value = new StringBuilder();
        var i = 1;
        for (; i < text.Length && text[i] != '"'; i++)
        {
            if (text[i] == '\\' && i + 1 < text.Length)
                i++;
            value.Append(text[i]);
        }
        rest = text[Math.Min(i + 1, text.Length)..];
        return value.ToString();
    }
}
