using Ravel.Agent.Guests;
using Ravel.Vmm;

namespace Ravel.Agent.Instances;

/// <summary>What this process holds of a live instance; all of it can be had again from the journal.</summary>
internal sealed class InstanceResources
{
    /// <summary>Keeps the image from being removed.</summary>
    public IDisposable? Lease { get; set; }

    public IVmm? Vmm { get; set; }

    public GuestSession? Session { get; set; }

    /// <summary>The template a guest began as that has not been heard of yet.</summary>
    public string? Template { get; set; }

    /// <summary>What a guest that boots was launched with, until it is up.</summary>
    public VmSpec? Booting { get; set; }

    /// <summary>The guest's CPUs may be stopped.</summary>
    public bool IsPaused { get; set; }

    /// <summary>Ends the saving of the guest's memory that is under way, if one is.</summary>
    public CancellationTokenSource Saving { get; set; } = new();

    public async Task ReleaseHandlesAsync()
    {
        if (Session is { } session)
            await session.DisposeAsync();
        Session = null;
        if (Vmm is { } vmm)
            await vmm.DisposeAsync();
        Vmm = null;
    }
}
