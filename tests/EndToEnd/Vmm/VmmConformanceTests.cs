using Ravel.Testing.Vmm;
using Ravel.Vmm;

namespace Ravel.EndToEnd.Vmm;

/// <summary>
/// Real VMs of the driver RAVEL_VMM names (default: QEMU): with RAVEL_VMM=firecracker and RAVEL_FIRECRACKER the same tests run
/// on Firecracker.
/// </summary>
public sealed class VmmConformanceTests : VmmConformance
{
    protected override async ValueTask<VmmHarness> CreateHarnessAsync() =>
        await BootedGuestHarness.CreateAsync(VmmOptions.FromEnvironment(Environment.GetEnvironmentVariable));
}
