namespace Ravel.Agent.Hosting;

public sealed record HostSlotOptions
{
    /// <summary>Where Ravel keeps what everything on it depends on; made when missing.</summary>
    public required string DataDirectory { get; init; }

    /// <summary>Host-wide, emptied by a reboot. Another one only in tests: all of a host must agree.</summary>
    public string BaseDirectory { get; init; } = "/run/ravel";

    /// <summary>How long to wait for others that are claiming at this moment.</summary>
    public TimeSpan LockTimeout { get; init; } = TimeSpan.FromSeconds(10);
}

/// <summary>The slot cannot be had. One line that names the data directory and the remedy.</summary>
public sealed class HostSlotException(string message) : Exception(message);
