using Ravel.Contracts.Api;

namespace Ravel.ControlPlane.Images;

/// <summary>
/// An image reference as Docker writes them (distribution/reference grammar, bounded), for checking and for showing its parts. The
/// node resolves it; this only keeps nonsense away from it.
/// </summary>
internal static class ImageReference
{
    private const int MaxLength = 512;
    private const string DefaultRegistry = "docker.io";

    public static bool TryParse(string? text, out ImageRef reference)
    {
        reference = new ImageRef { Registry = "", Repository = "" };
        if (string.IsNullOrEmpty(text) || text.Length > MaxLength)
            return false;

        var name = text;
        string? digest = null;
        var at = name.IndexOf('@', StringComparison.Ordinal);
        if (at >= 0)
        {
            digest = name[(at + 1)..];
            name = name[..at];
            if (!IsDigest(digest))
                return false;
        }
        else if (IsDigest(name))
        {
            // A manifest that the node has already.
            reference = new ImageRef { Registry = "", Repository = "", Digest = name };
            return true;
        }

        string? tag = null;
        var colon = name.LastIndexOf(':');
        if (colon > name.LastIndexOf('/'))
        {
            tag = name[(colon + 1)..];
            name = name[..colon];
            if (tag.Length is 0 or > 128 || tag[0] is '.' or '-' || !tag.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_'))
                return false;
        }

        var slash = name.IndexOf('/', StringComparison.Ordinal);
        var first = slash < 0 ? "" : name[..slash];
        var isRegistry = first.AsSpan().ContainsAny('.', ':') || first == "localhost" || first.Any(char.IsAsciiLetterUpper);
        var registry = isRegistry ? first : DefaultRegistry;
        var repository = isRegistry ? name[(slash + 1)..] : name;
        if (registry == "index.docker.io")
            registry = DefaultRegistry;
        if (registry == DefaultRegistry && !repository.Contains('/', StringComparison.Ordinal))
            repository = "library/" + repository;
        if (!IsRegistry(registry) || !IsRepository(repository))
            return false;

        reference = new ImageRef
        {
            Registry = registry,
            Repository = repository,
            Tag = tag ?? (digest is null ? "latest" : null),
            Digest = digest,
        };
        return true;
    }

    /// <summary>As nodes list the images they have: <c>docker.io/library/nginx:latest</c>, or the digest of one that is named by it.</summary>
    public static string FullName(ImageRef reference) =>
        reference.Digest ?? $"{reference.Registry}/{reference.Repository}:{reference.Tag}";

    /// <summary>A host name or address with a port at most; the node reads it more closely.</summary>
    private static bool IsRegistry(string registry) =>
        (char.IsAsciiLetterOrDigit(registry[0]) || registry[0] == '[')
        && registry.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or ':' or '[' or ']');

    private static bool IsRepository(string repository)
    {
        foreach (var part in repository.Split('/'))
        {
            if (part.Length == 0 || !char.IsAsciiLetterLower(part[0]) && !char.IsAsciiDigit(part[0]))
                return false;
            if (!part.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '.' or '-' or '_'))
                return false;
        }
        return true;
    }

    private static bool IsDigest(string text) =>
        text.Length == 71 && text.StartsWith("sha256:", StringComparison.Ordinal) && text.Skip(7).All(char.IsAsciiHexDigitLower);
}
