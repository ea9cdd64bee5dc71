using System.Diagnostics;
using Ravel.Contracts.Link;
using Ravel.Testing.Vmm;
using Ravel.Vmm;

namespace Ravel.EndToEnd.Vmm;

/// <summary>What a VM gets that wants more, with the driver RAVEL_VMM names.</summary>
public sealed class LimitTests : IAsyncLifetime
{
    private const int Mebibyte = 1 << 20;

    private BootedGuestHarness _harness = null!;

    public async ValueTask InitializeAsync() =>
        _harness = await BootedGuestHarness.CreateAsync(VmmOptions.FromEnvironment(Environment.GetEnvironmentVariable));

    public async ValueTask DisposeAsync()
    {
        if (_harness is not null)
            await _harness.DisposeAsync();
    }

    [Fact]
    public async Task A_guest_that_spins_and_reads_gets_what_it_may()
    {
        var spec = _harness.NewSpec();
        var image = spec.RunDirectory + "-disk";
        using (var file = File.OpenHandle(image, FileMode.CreateNew, FileAccess.Write))
            RandomAccess.SetLength(file, 5 * Mebibyte);
        spec = spec with
        {
            Drives = [.. spec.Drives, new Drive("large", image, ReadOnly: false)],
            Limits = new VmLimits { Disk = new RateLimit(2 * Mebibyte) },
        };
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);
        await using var link = await _harness.ConnectAsync(vmm);
        await link.SendAsync(new Configure(_harness.Configuration(["/bin/busybox", "sh", "-c", "cat /dev/vdd > /dev/null; timeout 2 sh -c 'while :; do :; done'; true"])), _harness.Deadline);
        Assert.IsType<WorkloadStarted>(await link.Messages.ReadAsync(_harness.Deadline));
        var began = Stopwatch.GetTimestamp();
        // Changed while it runs: from here on it has a tenth of a CPU, QEMU's threads included.
        await vmm.SetLimitsAsync(new VmLimits { Cpus = 0.1, CpuWeight = 200, Disk = new RateLimit(Mebibyte) }, _harness.Deadline);
        var group = _harness.GroupOf(spec);
        var before = group.ReadUsage();

        Assert.IsType<WorkloadExited>(await link.Messages.ReadAsync(_harness.Deadline));

        var elapsed = Stopwatch.GetElapsedTime(began).TotalSeconds;
        var usage = group.ReadUsage();
        var disk = (await vmm.GetMetricsAsync(_harness.Deadline)).Disk!;
        Assert.True(disk.ReadBytes >= 5 * Mebibyte, $"it read {disk}");
        // 5 MiB at 1 MiB/s, of which one comes at once and some before the limit was lowered; then two seconds of spinning.
        Assert.True(elapsed > 4, $"it took only {elapsed} s");
        Assert.True(usage.ThrottledPeriods > before.ThrottledPeriods, "it never had to wait");
        Assert.InRange((usage.CpuTime - before.CpuTime)!.Value.TotalSeconds, 0.01, (elapsed * 0.1 * 1.25) + 0.2);
    }
}
