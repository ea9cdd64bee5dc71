using System.Security.Cryptography.X509Certificates;

namespace Ravel.Images;

/// <summary>How registries are spoken to. The part about single registries is read by <see cref="RegistryFile"/>.</summary>
public sealed record RegistryOptions
{
    /// <summary>Registries (host or host:port) that have no TLS. Those on a loopback address need not be named.</summary>
    public IReadOnlyList<string> PlainHttpRegistries { get; init; } = [];

    /// <summary>Registries on a loopback address that do have TLS; those with <see cref="Authorities"/> need not be named.</summary>
    public IReadOnlyList<string> TlsRegistries { get; init; } = [];

    /// <summary>Mirrors of a registry (as it stands in references), first choice first; the registry itself comes after them.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<RegistryMirror>> Mirrors { get; init; } =
        new Dictionary<string, IReadOnlyList<RegistryMirror>>();

    /// <summary>
    /// Authorities whose certificates are believed of a host (host, or host:port, which comes first); that host's certificate
    /// must be theirs then. Others are judged by the system's authorities.
    /// </summary>
    public IReadOnlyDictionary<string, X509Certificate2Collection> Authorities { get; init; } = new Dictionary<string, X509Certificate2Collection>();

    /// <summary>Docker's client configuration with credentials; null for <c>$DOCKER_CONFIG/config.json</c> or <c>~/.docker/config.json</c>.</summary>
    public string? DockerConfigFile { get; init; }

    /// <summary>Where the settings of single registries are, for messages that say what to change.</summary>
    public string SettingsFile { get; init; } = RegistryFile.DefaultPath;

    /// <summary>How long to wait for a connection, an answer, or the next 64 KiB of one.</summary>
    public TimeSpan StallTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a credential helper may take; it may be asking a key store on another host.</summary>
    public TimeSpan HelperTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Tries of one request when the registry is busy or broken (429, 5xx, lost connections). A mirror has one.</summary>
    public int Attempts { get; init; } = 5;

    /// <summary>Pause before the second try; doubles with each further one, unless the registry says how long to wait.</summary>
    public TimeSpan FirstRetryDelay { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>The longest pause, also when the registry asks for a longer one.</summary>
    public TimeSpan MaxRetryDelay { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>A registry that has copies of another's images.</summary>
/// <param name="Host">Host and port.</param>
/// <param name="Prefix">Path before the repository there, such as <c>hub</c>; empty when there is none.</param>
public sealed record RegistryMirror(string Host, string Prefix)
{
    /// <summary>Reads <c>HOST[:PORT][/PREFIX]</c>; null when the text is none.</summary>
    public static RegistryMirror? Parse(string text)
    {
        var slash = text.IndexOf('/');
        var host = slash < 0 ? text : text[..slash];
        var prefix = slash < 0 ? "" : text[(slash + 1)..];
        return ImageReference.IsRegistryName(host) && (slash < 0 || ImageReference.IsRepository(prefix)) ? new RegistryMirror(host, prefix) : null;
    }

    public override string ToString() => Prefix.Length == 0 ? Host : $"{Host}/{Prefix}";
}
