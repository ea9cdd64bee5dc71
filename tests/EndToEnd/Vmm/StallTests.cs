using Ravel.Contracts.Link;
using Ravel.Linux.Processes;
using Ravel.Testing.Vmm;
using Ravel.Vmm;
using Ravel.Vmm.Qemu;

namespace Ravel.EndToEnd.Vmm;

/// <summary>A guest whose disk is on a file system that fills up.</summary>
public sealed class StallTests : IAsyncLifetime
{
    private const int Mebibyte = 1 << 20;

    private readonly string _small = Directory.CreateTempSubdirectory("rv-small-").FullName;
    private BootedGuestHarness _harness = null!;

    public async ValueTask InitializeAsync()
    {
        var options = VmmOptions.FromEnvironment(Environment.GetEnvironmentVariable);
        if (options.Driver == "firecracker")
            Assert.Skip("Firecracker gives its guest an I/O error");
        _harness = await BootedGuestHarness.CreateAsync(options);
        await CommandRunner.RunCheckedAsync("mount", ["-t", "tmpfs", "-o", "size=4m", "ravel-test", _small]);
    }

    public async ValueTask DisposeAsync()
    {
        if (_harness is not null)
        {
            await _harness.DisposeAsync();
            await CommandRunner.RunAsync("umount", [_small]);
        }
        Directory.Delete(_small);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_guest_that_fills_the_hosts_disk_goes_on_when_there_is_room(bool isAdoptedMeanwhile)
    {
        var spec = WithSmallDisk();
        var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);
        try
        {
            await using var link = await _harness.ConnectAsync(vmm);
            await link.SendAsync(
                new Configure(_harness.Configuration(["/bin/busybox", "sh", "-c", "busybox dd if=/dev/zero of=/dev/vdd bs=1M count=16 conv=fsync && exit 5"])),
                _harness.Deadline);
            Assert.IsType<WorkloadStarted>(await link.Messages.ReadAsync(_harness.Deadline));
            await UntilStalledAsync(vmm);
            if (isAdoptedMeanwhile)
            {
                await vmm.DisposeAsync();
                vmm = (await _harness.Driver.RecoverAsync(vmm.Record, _harness.Deadline))!;
            }

            // Again and again in vain.
            await UntilStalledAsync(vmm);
            Assert.False(link.Messages.TryRead(out var early), $"the guest said {early}");
            await CommandRunner.RunCheckedAsync("mount", ["-o", "remount,size=64m", _small]);

            var exited = Assert.IsType<WorkloadExited>(await link.Messages.ReadAsync(_harness.Deadline));
            Assert.Equal(5, exited.ExitCode);
        }
        finally
        {
            await vmm.DisposeAsync();
        }
    }

    [Fact]
    public async Task One_that_is_paused_stays_paused()
    {
        var spec = WithSmallDisk();
        await using var vmm = await _harness.Driver.LaunchAsync(spec, _harness.Deadline);
        await using var link = await _harness.ConnectAsync(vmm);
        await link.SendAsync(
            new Configure(_harness.Configuration(["/bin/busybox", "sh", "-c", "busybox dd if=/dev/zero of=/dev/vdd bs=1M count=16 conv=fsync && exit 5"])),
            _harness.Deadline);
        Assert.IsType<WorkloadStarted>(await link.Messages.ReadAsync(_harness.Deadline));
        await UntilStalledAsync(vmm);

        await vmm.PauseAsync(_harness.Deadline);
        await CommandRunner.RunCheckedAsync("mount", ["-o", "remount,size=64m", _small]);
        var refused = await Assert.ThrowsAsync<VmmException>(() => vmm.SnapshotAsync(System.IO.Path.Combine(spec.RunDirectory, "saved"), _harness.Deadline));
        Assert.Contains("not paused", refused.Message, StringComparison.Ordinal);
        Assert.False(link.Messages.TryRead(out var early), $"the guest said {early}");

        await vmm.ResumeAsync(_harness.Deadline);
        Assert.Equal(5, Assert.IsType<WorkloadExited>(await link.Messages.ReadAsync(_harness.Deadline)).ExitCode);
    }

    private VmSpec WithSmallDisk()
    {
        var spec = _harness.NewSpec();
        var image = System.IO.Path.Combine(_small, "disk");
        using (var file = File.OpenHandle(image, FileMode.CreateNew, FileAccess.Write))
            RandomAccess.SetLength(file, 32 * Mebibyte);
        return spec with { Drives = [.. spec.Drives, new Drive("full", image, ReadOnly: false)] };
    }

    private async Task UntilStalledAsync(IVmm vmm)
    {
        while (await ((QemuVm)vmm).GetStatusAsync(_harness.Deadline) != QemuStall.Status)
            await Task.Delay(10, _harness.Deadline);
    }
}
