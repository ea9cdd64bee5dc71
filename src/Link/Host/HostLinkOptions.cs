namespace Ravel.Link;

/// <summary>How a host tells a quiet guest from a dead one.</summary>
public sealed record HostLinkOptions
{
    public static HostLinkOptions Default { get; } = new();

    /// <summary>A guest that was silent this long is pinged.</summary>
    public TimeSpan PingInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// A guest that was silent this long is taken for dead and the session ends. A paused guest is silent, too: close the
    /// link before pausing for longer.
    /// </summary>
    public TimeSpan DeadAfter { get; init; } = TimeSpan.FromSeconds(60);

    public TimeProvider Time { get; init; } = TimeProvider.System;
}
