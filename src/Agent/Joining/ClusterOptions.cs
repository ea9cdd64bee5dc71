using Ravel.Trust;

namespace Ravel.Agent.Joining;

/// <summary>Configuration of an agent that is one of many.</summary>
public sealed record ClusterOptions
{
    /// <summary>A server's hub, https://ADDRESS:PORT; null: one that is known from before.</summary>
    public Uri? Join { get; init; }

    /// <summary>For a host that has not joined yet.</summary>
    public JoinToken? Token { get; init; }

    /// <summary>Connections older than this take no new calls.</summary>
    public TimeSpan ConnectionLifetime { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Longest answer of a server; after it the agent turns to the next.</summary>
    public TimeSpan CallTimeout { get; init; } = TimeSpan.FromSeconds(3);
}
