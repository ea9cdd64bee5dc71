using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;

namespace Ravel.Images;

/// <summary>
/// The name of an image as Docker writes them: <c>[registry[:port]/]repository[:tag][@digest]</c>, with <c>docker.io</c>,
/// <c>library/</c> and <c>latest</c> for what is left out. Source of the grammar: <c>reference</c> package of
/// the distribution project.
/// </summary>
/// <param name="Registry">Host and port; <c>docker.io</c> for Docker's own.</param>
/// <param name="Repository">Path, lower case.</param>
/// <param name="Tag">Null only when there is a digest instead.</param>
/// <param name="Digest">sha256:HEX of a manifest or index; it decides when there is a tag too.</param>
public sealed partial record ImageReference(string Registry, string Repository, string? Tag, string? Digest)
{
    public const string DefaultRegistry = "docker.io";
    private const string DefaultTag = "latest";

    /// <summary>Of the repository, without its registry.</summary>
    private const int MaxRepositoryLength = 255;

    /// <summary>DNS's limit for a host name, and room for a port.</summary>
    private const int MaxRegistryLength = 253 + 6;

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
            if (!IsRegistryName(registry))
                return Fail("the registry has to be a host name or address with an optional port", out problem);
        }
        else if (IdentifierPattern().IsMatch(text))
        {
            return Fail($"64 hex digits are an image's digest; write {Manifests.Digest.Prefix}{text}", out problem);
        }
        if (registry == "index.docker.io")
            registry = DefaultRegistry;
        if (registry == DefaultRegistry && rest.Length > 0 && !rest.Contains('/'))
            rest = "library/" + rest;
        if (rest.Length == 0)
            return Fail("it names no repository", out problem);
        if (!RepositoryPattern().IsMatch(rest))
        {
            return Fail(
                rest.Any(char.IsAsciiLetterUpper) ? "a repository is lower case" : "a repository has lower-case letters and digits, joined by . _ - and /",
                out problem);
        }
        if (rest.Length > MaxRepositoryLength)
            return Fail($"the repository is over {MaxRepositoryLength} characters", out problem);

        reference = new ImageReference(registry, rest, tag ?? (digest is null ? DefaultTag : null), digest);
        problem = null;
        return true;
    }

    /// <summary>The full form, which parses to the same reference.</summary>
    public override string ToString() =>
        $"{Registry}/{Repository}{(Tag is null ? "" : ":" + Tag)}{(Digest is null ? "" : "@" + Digest)}";

    /// <summary>
    /// Whether a text is a host name, an IPv4 or a bracketed IPv6 address, with or without a port. Stricter than Docker's
    /// grammar where that lets pass what can never be connected to.
    /// </summary>
    internal static bool IsRegistryName(string text)
    {
        if (text.Length > MaxRegistryLength || RegistryPattern().Match(text) is not { Success: true } match)
            return false;
        if (match.Groups["port"] is { Success: true } port && !(int.TryParse(port.Value, CultureInfo.InvariantCulture, out var number) && number is > 0 and <= 65535))
            return false;
        return match.Groups["address"] is not { Success: true } address || IPAddress.TryParse(address.Value, out _);
    }

    internal static bool IsRepository(string text) => text.Length <= MaxRepositoryLength && RepositoryPattern().IsMatch(text);

    private static bool Fail(string why, out string? problem)
    {
        problem = why;
        return false;
    }

    /// <summary>The first component is a registry when it could not be part of a repository's path.</summary>
    private static bool IsRegistry(string component) =>
        component == "localhost" || component.AsSpan().ContainsAny('.', ':') || component.Any(char.IsAsciiLetterUpper);

    [GeneratedRegex(@"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\z")]
    private static partial Regex TagPattern();

    [GeneratedRegex(@"\A[a-f0-9]{64}\z")]
    private static partial Regex IdentifierPattern();

    [GeneratedRegex(@"\A(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[(?<address>[A-Fa-f0-9:]+)\])(?::(?<port>[0-9]{1,5}))?\z", RegexOptions.NonBacktracking)]
    private static partial Regex RegistryPattern();

    [GeneratedRegex(@"\A[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\z", RegexOptions.NonBacktracking)]
    private static partial Regex RepositoryPattern();
}
