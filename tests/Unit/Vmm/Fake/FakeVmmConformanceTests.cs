using Ravel.Testing.Vmm;

namespace Ravel.Unit.Vmm.Fake;

public sealed class FakeVmmConformanceTests : VmmConformance
{
    protected override ValueTask<VmmHarness> CreateHarnessAsync() => new(new FakeVmmHarness());
}
