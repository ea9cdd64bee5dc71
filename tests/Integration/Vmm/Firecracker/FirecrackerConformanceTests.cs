using Ravel.Testing.Vmm;

namespace Ravel.Integration.Vmm.Firecracker;

public sealed class FirecrackerConformanceTests : VmmConformance
{
    protected override ValueTask<VmmHarness> CreateHarnessAsync() => new(new FakeFirecrackerHarness(isJailed: false));
}

public sealed class JailedFirecrackerConformanceTests : VmmConformance
{
    protected override ValueTask<VmmHarness> CreateHarnessAsync() => new(new FakeFirecrackerHarness(isJailed: true));
}
