namespace Ravel.Images;

/// <summary>How registries are spoken to.</summary>
public sealed record RegistryOptions
{
    /// <summary>Registries (host or host:port) that have no TLS. Those on a loopback address need not be named.</summary>
    public IReadOnlyList<string> PlainHttpRegistries { get; init; } = [];

    /// <summary>Docker's client configuration with credentials; null for <c>$DOCKER_CONFIG/config.json</c> or <c>~/.docker/config.json</c>.</summary>
    public string? DockerConfigFile { get; init; }

    /// <summary>How long to wait for a connection, an answer, or the next 64 KiB of one.</summary>
    public TimeSpan StallTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Tries of one request when the registry is busy or broken (429, 5xx, lost connections).</summary>
    public int Attempts { get; init; } = 5;

    /// <summary>Pause before the second try; doubles with each further one, unless the registry says how long to wait.</summary>
    public TimeSpan FirstRetryDelay { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>The longest pause, also when the registry asks for a longer one.</summary>
    public TimeSpan MaxRetryDelay { get; init; } = TimeSpan.FromSeconds(30);
}
