namespace Ravel.Agent.WarmStarts;

/// <summary>Starts from a guest that waits already, instead of booting one.</summary>
public sealed record WarmStartOptions
{
    public bool IsEnabled { get; init; } = true;

    /// <summary>Templates that are kept; above it those go that were not used for longest. Each has the size of a guest that has just booted.</summary>
    public int MaxTemplates { get; init; } = 4;

    /// <summary>How long the guest of a template may take to boot and to be saved.</summary>
    public TimeSpan BuildTimeout { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>Time between a template that could not be made, or was of no use, and the next try; also between two that each drive out another.</summary>
    public TimeSpan Pause { get; init; } = TimeSpan.FromMinutes(1);
}
