using System.Text.RegularExpressions;

namespace Ravel.Images;

/// <summary>
/// The name of an image as Docker writes them: <c>[registry[:port]/]repository[:tag][@digest]</c>, with <c>docker.io</c>,
/// <c>library/</c> and <c>latest</c> for what is left out. Source of the grammar: the distribution project's
/// <c>reference</c> package.
/// </summary>
/// <param name="Registry">Host and port; <c>docker.io</c> for Docker's own.</param>
/// <param name="Repository">Path, lower case.</param>
/// <param name="Tag">Null only when there is a digest instead.</param>
/// <param name="Digest">sha256:HEX of a manifest or index; it decides when there is a tag too.</param>
public sealed partial record ImageReference(string Registry, string Repository, string? Tag, string? Digest)
{
    public const string DefaultRegistry = "docker.io";
    private const string DefaultTag = "latest";
    private const int MaxNameLength = 255;

    /// <exception cref="ImageException"><c>invalid-request</c>, with what is wrong with the text.</exception>
    public static ImageReference Parse(string text)
    {
        if (TryParse(text, out var reference, out var problem))
            return reference!;
        var shown = text.Length > 200 ? text[..200] + "…" : text;
        throw new ImageException("invalid-request", $"\"{shown}\" is not an image reference: {problem}");
    }

    /// <param name="problem">What is wrong; null when nothing is.</param>
    public static bool TryParse(string text, out ImageReference? reference, out string? problem)
    {
        reference = null;
        var rest = text;
        string? digest = null;
        if (rest.IndexOf('@') is >= 0 and var at)
        {
            digest = rest[(at + 1)..];
            rest = rest[..at];
            if (!Manifests.Digest.TryParse(digest, out _))
                return Fail("the part behind @ has to be sha256: and 64 lower-case hex digits", out problem);
        }

        string? tag = null;
        if (rest.LastIndexOf(':') is >= 0 and var colon && !rest[colon..].Contains('/'))
        {
            tag = rest[(colon + 1)..];
            rest = rest[..colon];
            if (!TagPattern().IsMatch(tag))
                return Fail("a tag has up to 128 letters, digits, dots, dashes and underscores", out problem);
        }

        var registry = DefaultRegistry;
        if (rest.IndexOf('/') is > 0 and var slash && IsRegistry(rest[..slash]))
        {
            registry = rest[..slash];
            rest = rest[(slash + 1)..];
            if (!RegistryPattern().IsMatch(registry))
                return Fail("the registry has to be a host name or address with an optional port", out problem);
        }
        if (registry == "index.docker.io")
            registry = DefaultRegistry;
        if (registry == DefaultRegistry && rest.Length > 0 && !rest.Contains('/'))
            rest = "library/" + rest;
        if (rest.Length == 0)
            return Fail("it names no repository", out problem);
        if (!RepositoryPattern().IsMatch(rest))
            return Fail("a repository has lower-case letters and digits, joined by . _ - and /", out problem);
        if (registry.Length + 1 + rest.Length > MaxNameLength)
            return Fail($"the name is over {MaxNameLength} characters", out problem);

        reference = new ImageReference(registry, rest, tag ?? (digest is null ? DefaultTag : null), digest);
        problem = null;
        return true;
    }

    /// <summary>The full form, which parses to the same reference.</summary>
    public override string ToString() =>
        $"{Registry}/{Repository}{(Tag is null ? "" : ":" + Tag)}{(Digest is null ? "" : "@" + Digest)}";

    private static bool Fail(string why, out string? problem)
    {
        problem = why;
        return false;
    }

    /// <summary>The first component is a registry when it could not be part of a repository's path.</summary>
    private static bool IsRegistry(string component) =>
        component == "localhost" || component.AsSpan().ContainsAny('.', ':', '[') || component.Any(char.IsAsciiLetterUpper);

    [GeneratedRegex(@"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\z")]
    private static partial Regex TagPattern();

    [GeneratedRegex(@"\A(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[A-Fa-f0-9:]+\])(?::[0-9]{1,5})?\z", RegexOptions.NonBacktracking)]
    private static partial Regex RegistryPattern();

    [GeneratedRegex(@"\A[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\z", RegexOptions.NonBacktracking)]
    private static partial Regex RepositoryPattern();
}
