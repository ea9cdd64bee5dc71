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
