namespace Ravel.Images.Registry;

/// <summary>What a registry asks for: a <c>WWW-Authenticate</c> header (RFC 9110, section 11; distribution's token specification).</summary>
/// <param name="Scheme">Lower case.</param>
internal sealed record AuthenticationChallenge(string Scheme, IReadOnlyDictionary<string, string> Parameters)
{
    /// <summary>Parses one header value with one challenge, as registries send them; null when it is none.</summary>
    public static AuthenticationChallenge? Parse(string header)
    {
        var text = header.AsSpan().Trim();
        var space = text.IndexOf(' ');
        var scheme = (space < 0 ? text : text[..space]).ToString().ToLowerInvariant();
        if (scheme.Length == 0)
            return null;
        var parameters = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        var rest = space < 0 ? default : text[(space + 1)..];
        while (!(rest = rest.TrimStart(" ,")).IsEmpty)
        {
            var equals = rest.IndexOf('=');
            if (equals <= 0)
                break;
            var name = rest[..equals].Trim().ToString();
            rest = rest[(equals + 1)..];
            if (rest is ['"', ..])
            {
                var value = new System.Text.StringBuilder();
                var i = 1;
                for (; i < rest.Length && rest[i] != '"'; i++)
                {
                    if (rest[i] == '\\' && i + 1 < rest.Length)
                        i++;
                    value.Append(rest[i]);
                }
                parameters[name] = value.ToString();
                rest = rest[Math.Min(i + 1, rest.Length)..];
            }
            else
            {
                var end = rest.IndexOf(',');
                parameters[name] = (end < 0 ? rest : rest[..end]).Trim().ToString();
                rest = end < 0 ? default : rest[end..];
            }
        }
        return new AuthenticationChallenge(scheme, parameters);
    }
}
