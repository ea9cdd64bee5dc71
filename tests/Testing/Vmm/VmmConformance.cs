using System.Text;
using Ravel.Contracts.Link;
using Ravel.Link;
using Ravel.Vmm;
using Xunit;

namespace Ravel.Testing.Vmm;

/// <summary>
/// What every driver has to do. A driver's tests derive from this and say with a <see cref="VmmHarness"/> how its VMs look.
/// Each test launches as few VMs as it can: a real one takes seconds to boot.
/// </summary>
public abstract class VmmConformance : IAsyncLifetime
{
    private const int Sigterm = 15;

    private VmmHarness? _harness;

    private VmmHarness Harness => _harness ?? throw new InvalidOperationException("the test has not begun");

    public async ValueTask InitializeAsync() => _harness = await CreateHarnessAsync();

    public async ValueTask DisposeAsync()
    {
        if (_harness is not null)
            await _harness.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task A_launch_leads_to_a_link_the_workloads_exit_and_a_shutdown()
    {
        await using var vmm = await LaunchAsync();
        await using var link = await Harness.ConnectAsync(vmm);
        Assert.Equal(GuestPhase.Waiting, link.GuestHello.Phase);
        await ConfigureAsync(link, Harness.PrintAndExit("hello from the guest", 7));

        var (exit, output) = await RunToExitAsync(link);
        Assert.Equal(7, exit.ExitCode);
        Assert.Equal("hello from the guest\n", output);
        Assert.False(vmm.Exited.IsCompleted);

        await link.SendAsync(new PowerOff(), Harness.Deadline);
        Assert.Equal(VmmExitKind.GuestShutdown, (await ExitAsync(vmm)).Kind);
    }

    [Fact]
    public async Task Drives_have_the_promised_order()
    {
        await using var vmm = await LaunchAsync();
        await using var link = await Harness.ConnectAsync(vmm);
        await ConfigureAsync(link, Harness.PrintLastDrives);

        Assert.Equal("second last\nlast\n", (await RunToExitAsync(link)).Output);
    }

    [Fact]
    public async Task A_kill_is_idempotent_and_final()
    {
        await using var vmm = await LaunchAsync();

        await vmm.KillAsync(Harness.Deadline);
        await vmm.KillAsync(Harness.Deadline);

        Assert.Equal(VmmExitKind.Killed, (await ExitAsync(vmm)).Kind);
        Assert.Null(await Harness.Driver.RecoverAsync(vmm.Record, Harness.Deadline));
        await Assert.ThrowsAnyAsync<VmmException>(() => vmm.PauseAsync(Harness.Deadline));
    }

    [Fact]
    public async Task A_vm_is_found_again_after_its_handle_was_let_go()
    {
        var vmm = await LaunchAsync();
        var record = vmm.Record;
        await using (var first = await Harness.ConnectAsync(vmm))
        {
            await ConfigureAsync(first, Harness.RunForEver);
            Assert.IsType<WorkloadStarted>(await NextAsync(first));
        }
        await vmm.DisposeAsync();

        await using var found = await Harness.Driver.RecoverAsync(record, Harness.Deadline);
        Assert.NotNull(found);
        Assert.Equal(record, found.Record);
        await using (var second = await Harness.ConnectAsync(found))
        {
            Assert.Equal(GuestPhase.Running, second.GuestHello.Phase);
            await second.SendAsync(new StopWorkload(Sigterm, 10_000), Harness.Deadline);
            Assert.Equal(Sigterm, (await RunToExitAsync(second)).Exit.Signal);
        }
        await found.KillAsync(Harness.Deadline);
        Assert.Equal(VmmExitKind.Killed, (await ExitAsync(found)).Kind);
    }

    [Fact]
    public async Task A_pid_that_belongs_to_another_process_now_is_not_recovered()
    {
        await using var vmm = await LaunchAsync();

        Assert.Null(await Harness.Driver.RecoverAsync(vmm.Record with { StartTime = vmm.Record.StartTime + 1 }, Harness.Deadline));
        Assert.Null(await Harness.Driver.RecoverAsync(vmm.Record with { Pid = Environment.ProcessId }, Harness.Deadline));
        Assert.False(vmm.Exited.IsCompleted);
    }

    [Fact]
    public async Task A_purge_leaves_nothing_of_a_vm_in_any_state()
    {
        var never = Harness.NewSpec();
        await PurgeAsync(never);

        var spec = Harness.NewSpec();
        await using var vmm = await Harness.Driver.LaunchAsync(spec, Harness.Deadline);
        await vmm.PauseAsync(Harness.Deadline);
        await PurgeAsync(spec);
        await ExitAsync(vmm);
        await PurgeAsync(spec);

        // The id is free again.
        await using var again = await Harness.Driver.LaunchAsync(spec, Harness.Deadline);
        await again.KillAsync(Harness.Deadline);
        await PurgeAsync(spec);
    }

    [Fact]
    public async Task A_launch_that_fails_says_why_and_leaves_nothing()
    {
        var spec = Harness.NewSpec();
        var missing = Path.Combine(spec.RunDirectory, "absent.img");
        spec = spec with { Drives = [.. spec.Drives, new Drive("absent", missing, ReadOnly: true)] };

        var error = await Assert.ThrowsAnyAsync<VmmException>(() => Harness.Driver.LaunchAsync(spec, Harness.Deadline));

        Assert.Contains("absent.img", error.Message);
        Assert.Empty(Harness.Leftovers(spec));
    }

    [Fact]
    public async Task A_launch_that_is_cancelled_leaves_nothing()
    {
        var spec = Harness.NewSpec();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Harness.Driver.LaunchAsync(spec, new CancellationToken(canceled: true)));

        Assert.Empty(Harness.Leftovers(spec));
    }

    [Fact]
    public async Task A_paused_vm_goes_on_where_it_stopped()
    {
        await using var vmm = await LaunchAsync();
        await using var link = await Harness.ConnectAsync(vmm);
        await ConfigureAsync(link, Harness.RunForEver);
        Assert.IsType<WorkloadStarted>(await NextAsync(link));

        await vmm.PauseAsync(Harness.Deadline);
        await vmm.PauseAsync(Harness.Deadline);
        await link.SendAsync(new StopWorkload(Sigterm, 10_000), Harness.Deadline);
        await vmm.ResumeAsync(Harness.Deadline);
        await vmm.ResumeAsync(Harness.Deadline);

        Assert.Equal(Sigterm, (await RunToExitAsync(link)).Exit.Signal);
    }

    [Fact]
    public async Task A_saved_guest_that_waits_can_be_restored_and_become_a_machine()
    {
        var spec = Harness.NewSpec();
        VmSnapshot snapshot;
        await using (var vmm = await Harness.Driver.LaunchAsync(spec, Harness.Deadline))
        {
            await using (var link = await Harness.ConnectAsync(vmm))
                Assert.Equal(GuestPhase.Waiting, link.GuestHello.Phase);
            var directory = spec.RunDirectory + "-saved";
            await Assert.ThrowsAnyAsync<VmmException>(() => vmm.SnapshotAsync(directory, Harness.Deadline));
            await vmm.PauseAsync(Harness.Deadline);
            snapshot = await vmm.SnapshotAsync(directory, Harness.Deadline);
            await vmm.KillAsync(Harness.Deadline);
        }
        await PurgeAsync(spec);

        var restored = Harness.NewSpec() with { Drives = spec.Drives, Restore = snapshot };
        await using var second = await Harness.Driver.LaunchAsync(restored, Harness.Deadline);
        await using var secondLink = await Harness.ConnectAsync(second);
        Assert.Equal(GuestPhase.Waiting, secondLink.GuestHello.Phase);
        await ConfigureAsync(secondLink, Harness.PrintAndExit("restored", 3));
        var (exit, output) = await RunToExitAsync(secondLink);
        Assert.Equal(3, exit.ExitCode);
        Assert.Equal("restored\n", output);

        var foreign = Harness.NewSpec() with { Restore = snapshot with { Driver = "another" } };
        await Assert.ThrowsAsync<VmRestoreException>(() => Harness.Driver.LaunchAsync(foreign, Harness.Deadline));
        Assert.Empty(Harness.Leftovers(foreign));
    }

    [Fact]
    public async Task A_restored_guest_waits_paused_for_whoever_finds_it_if_so_asked()
    {
        var spec = Harness.NewSpec();
        VmSnapshot snapshot;
        await using (var vmm = await Harness.Driver.LaunchAsync(spec, Harness.Deadline))
        {
            await using (await Harness.ConnectAsync(vmm))
                await vmm.PauseAsync(Harness.Deadline);
            snapshot = await vmm.SnapshotAsync(spec.RunDirectory + "-saved", Harness.Deadline);
            // Saved already, for somebody who did not live to note it: let go on, it can be saved again.
            await vmm.ResumeAsync(Harness.Deadline);
            await vmm.PauseAsync(Harness.Deadline);
            Directory.Delete(snapshot.Directory, recursive: true);
            snapshot = await vmm.SnapshotAsync(spec.RunDirectory + "-saved", Harness.Deadline);
            await vmm.KillAsync(Harness.Deadline);
        }
        await PurgeAsync(spec);
        Directory.CreateDirectory(spec.RunDirectory);

        var restored = await Harness.Driver.LaunchAsync(spec with { Restore = snapshot, IsPausedAfterRestore = true }, Harness.Deadline);
        await restored.DisposeAsync();
        await using var found = await Harness.Driver.RecoverAsync(restored.Record, Harness.Deadline);
        Assert.NotNull(found);
        await found.ResumeAsync(Harness.Deadline);
        await using var link = await Harness.ConnectAsync(found);
        await ConfigureAsync(link, Harness.PrintAndExit("went on", 4));
        var (exit, output) = await RunToExitAsync(link);
        Assert.Equal((4, "went on\n"), (exit.ExitCode, output));
    }

    [Fact]
    public async Task The_console_is_kept_within_64_KiB_and_metrics_grow()
    {
        await using var vmm = await LaunchAsync();
        await using var link = await Harness.ConnectAsync(vmm);
        await ConfigureAsync(link, Harness.WriteConsole(100_000));
        Assert.Equal(0, (await RunToExitAsync(link)).Exit.ExitCode);

        var console = await vmm.ReadConsoleAsync(Harness.Deadline);
        Assert.InRange(Encoding.UTF8.GetByteCount(console), 1024, 64 * 1024);
        Assert.Equal(console, await vmm.ReadConsoleAsync(Harness.Deadline));
        var metrics = await vmm.GetMetricsAsync(Harness.Deadline);
        Assert.True(metrics.CpuTime > TimeSpan.Zero, "no CPU time");
        Assert.True(metrics.ResidentBytes > 0, "no memory");
        Assert.NotNull(metrics.Disk);
    }

    [Fact]
    public async Task A_broken_link_is_opened_again_and_output_in_between_is_kept()
    {
        await using var vmm = await LaunchAsync();
        await using (var first = await Harness.ConnectAsync(vmm))
        {
            await ConfigureAsync(first, Harness.PrintAndExit("kept", 5));
            Assert.IsType<WorkloadStarted>(await NextAsync(first));
        }

        await using var second = await Harness.ConnectAsync(vmm);
        var (exit, output) = await RunToExitAsync(second);
        Assert.Equal(5, exit.ExitCode);
        Assert.Equal("kept\n", output);
    }

    [Fact]
    public async Task A_link_that_breaks_again_and_again_is_opened_again()
    {
        await using var vmm = await LaunchAsync();
        await using (var first = await Harness.ConnectAsync(vmm))
        {
            await ConfigureAsync(first, Harness.RunForEver);
            Assert.IsType<WorkloadStarted>(await NextAsync(first));
        }
        for (var i = 0; i < 40; i++)
        {
            await using var link = await Harness.ConnectAsync(vmm);
            Assert.Equal(GuestPhase.Running, link.GuestHello.Phase);
        }
    }

    [Fact]
    public async Task An_end_that_nobody_saw_is_known_afterwards()
    {
        var vmm = await LaunchAsync();
        await using var link = await Harness.ConnectAsync(vmm);
        await ConfigureAsync(link, Harness.PrintAndExit("bye", 0));
        await RunToExitAsync(link);
        await vmm.DisposeAsync();
        await link.SendAsync(new PowerOff(), Harness.Deadline);

        // The link may end, or not, before the VMM is found; the end comes in either order.
        await using var found = await Harness.Driver.RecoverAsync(vmm.Record, Harness.Deadline);
        if (found is null)
            Assert.False(Harness.KeepsTheGuestsEnd, "the VMM is gone and with it how its guest ended");
        else
            Assert.Equal(VmmExitKind.GuestShutdown, (await ExitAsync(found)).Kind);
    }

    protected abstract ValueTask<VmmHarness> CreateHarnessAsync();

    private Task<IVmm> LaunchAsync() => Harness.Driver.LaunchAsync(Harness.NewSpec(), Harness.Deadline);

    private async Task PurgeAsync(VmSpec spec)
    {
        await Harness.Driver.PurgeAsync(spec.Id, spec.RunDirectory, Harness.Deadline);
        Assert.Empty(Harness.Leftovers(spec));
    }

    private async Task ConfigureAsync(HostLink link, IReadOnlyList<string> arguments) =>
        await link.SendAsync(new Configure(Harness.Configuration(arguments)), Harness.Deadline);

    private async Task<GuestMessage> NextAsync(HostLink link) => await link.Messages.ReadAsync(Harness.Deadline);

    private Task<VmmExit> ExitAsync(IVmm vmm) => vmm.Exited.WaitAsync(Harness.Deadline);

    /// <summary>Reads the workload's output to its end, and how it exited.</summary>
    private async Task<(WorkloadExited Exit, string Output)> RunToExitAsync(HostLink link)
    {
        await using var reader = link.OpenRead(LinkStreams.Stdout);
        var output = new MemoryStream();
        var buffer = new byte[4096];
        int count;
        while ((count = await reader.ReadAsync(buffer, Harness.Deadline)) > 0)
        {
            output.Write(buffer, 0, count);
            reader.Consume(reader.Offset);
        }
        while (true)
        {
            switch (await NextAsync(link))
            {
                case WorkloadExited exited:
                    return (exited, Encoding.UTF8.GetString(output.ToArray()));
                case WorkloadFailed failed:
                    throw new InvalidOperationException($"the workload was refused with {failed.ExitCode}: {failed.Message}");
            }
        }
    }
}
