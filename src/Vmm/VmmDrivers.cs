using Ravel.Vmm.Fake;
using Ravel.Vmm.Firecracker;
using Ravel.Vmm.Qemu;

namespace Ravel.Vmm;

/// <summary>The drivers there are.</summary>
public static class VmmDrivers
{
    /// <summary>Makes the driver the options name. What it lacks on this host <see cref="IVmmDriver.ProbeAsync"/> says.</summary>
    /// <exception cref="ArgumentException">No such driver, or an accelerator that is none.</exception>
    public static IVmmDriver Create(VmmOptions options, TimeProvider? time = null)
    {
        if (options.Accelerator is not (null or "kvm" or "tcg"))
            throw new ArgumentException($"RAVEL_ACCELERATOR is '{options.Accelerator}'; it has to be kvm or tcg.");
        return options.Driver switch
        {
            QemuDriver.DriverName => new QemuDriver(options, time),
            FirecrackerDriver.DriverName => new FirecrackerDriver(options, time),
            FakeVmmDriver.DriverName => new FakeVmmDriver(time),
            _ => throw new ArgumentException($"RAVEL_VMM is '{options.Driver}'; it has to be qemu, firecracker or fake."),
        };
    }
}
