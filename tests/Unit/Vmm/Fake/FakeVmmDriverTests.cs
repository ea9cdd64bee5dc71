using Microsoft.Extensions.Time.Testing;
using Ravel.Contracts.Link;
using Ravel.Testing.Vmm;
using Ravel.Vmm;
using Ravel.Vmm.Fake;

namespace Ravel.Unit.Vmm.Fake;

public sealed class FakeVmmDriverTests : IAsyncLifetime
{
    private readonly FakeVmmHarness _harness = new();

    private FakeVmmDriver Driver => (FakeVmmDriver)_harness.Driver;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => _harness.DisposeAsync();

    [Fact]
    public async Task A_launch_fails_with_the_words_it_was_told()
    {
        Driver.Faults = _ => new FakeVmmFaults { LaunchFailure = "no memory left" };

        var error = await Assert.ThrowsAsync<VmmException>(() => Driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline));

        Assert.Contains("no memory left", error.Message);
        Assert.Empty(Driver.Vms);
    }

    [Fact]
    public async Task A_launch_that_hangs_ends_when_cancelled()
    {
        Driver.Faults = _ => new FakeVmmFaults { LaunchHangs = true };
        using var cancel = new CancellationTokenSource();
        var launch = Driver.LaunchAsync(_harness.NewSpec(), cancel.Token);

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => launch);
        Assert.Empty(Driver.Vms);
    }

    [Fact]
    public async Task A_silent_guest_never_answers()
    {
        Driver.Faults = _ => new FakeVmmFaults { LinkIsSilent = true };
        await using var vmm = await Driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline);
        await using var channel = await vmm.ConnectGuestAsync(_harness.Deadline);
        using var cancel = new CancellationTokenSource();

        await channel.Stream.WriteAsync(new byte[100_000], _harness.Deadline);
        var answer = channel.Stream.ReadAsync(new byte[1], cancel.Token);

        Assert.False(answer.IsCompleted);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await answer);
    }

    [Fact]
    public async Task A_vm_that_dies_is_lost_and_its_link_breaks()
    {
        await using var vmm = await Driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline);
        await using var link = await _harness.ConnectAsync(vmm);

        Driver.Vms[vmm.Record.Id].Die();

        Assert.Equal(VmmExitKind.Lost, (await vmm.Exited.WaitAsync(_harness.Deadline)).Kind);
        await link.Completion.WaitAsync(_harness.Deadline).ContinueWith(_ => { }, TaskScheduler.Default);
        Assert.Null(await Driver.RecoverAsync(vmm.Record, _harness.Deadline));
        await Assert.ThrowsAsync<VmmException>(() => vmm.ConnectGuestAsync(_harness.Deadline));
    }

    [Fact]
    public async Task A_vm_that_is_told_to_be_unfindable_is_not_found()
    {
        Driver.Faults = _ => new FakeVmmFaults { RecoverFindsNothing = true };
        await using var vmm = await Driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline);

        Assert.Null(await Driver.RecoverAsync(vmm.Record, _harness.Deadline));
    }

    [Theory]
    [InlineData("exit 7", 7, 0, false)]
    [InlineData("sh -c 'exit 9'", 9, 0, false)]
    [InlineData("oom", 137, 9, true)]
    public async Task A_workload_ends_as_its_arguments_say(string command, int code, int signal, bool oom)
    {
        string[] arguments = command.StartsWith("sh", StringComparison.Ordinal) ? ["/bin/sh", "-c", "print a; exit 9"] : command.Split(' ');
        await using var vmm = await Driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline);
        await using var link = await _harness.ConnectAsync(vmm);

        await link.SendAsync(new Configure(_harness.Configuration(arguments)), _harness.Deadline);

        Assert.IsType<WorkloadStarted>(await link.Messages.ReadAsync(_harness.Deadline));
        Assert.Equal(new WorkloadExited(code, signal, oom), await link.Messages.ReadAsync(_harness.Deadline));
    }

    [Theory]
    [InlineData("fail 126", 126)]
    [InlineData("nginx -g daemon", 127)]
    public async Task A_workload_that_cannot_start_is_refused(string command, int code)
    {
        await using var vmm = await Driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline);
        await using var link = await _harness.ConnectAsync(vmm);

        await link.SendAsync(new Configure(_harness.Configuration(command.Split(' '))), _harness.Deadline);

        Assert.Equal(code, Assert.IsType<WorkloadFailed>(await link.Messages.ReadAsync(_harness.Deadline)).ExitCode);
    }

    [Fact]
    public async Task A_stubborn_workload_is_killed_when_its_time_is_over()
    {
        var time = new FakeTimeProvider();
        var driver = new FakeVmmDriver(time);
        await using var vmm = await driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline);
        await using var link = await _harness.ConnectAsync(vmm);
        await link.SendAsync(new Configure(_harness.Configuration(["ignore-stop", ";", "print", "deaf", ";", "sleep"])), _harness.Deadline);
        await using var output = link.OpenRead(LinkStreams.Stdout);
        Assert.True(await output.ReadAsync(new byte[16], _harness.Deadline) > 0);
        Assert.IsType<WorkloadStarted>(await link.Messages.ReadAsync(_harness.Deadline));

        await link.SendAsync(new StopWorkload(15, 5_000), _harness.Deadline);
        var exited = link.Messages.ReadAsync(_harness.Deadline).AsTask();
        while (!exited.IsCompleted)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Yield();
        }

        Assert.Equal(new WorkloadExited(137, 9, false), await exited);
    }

    [Fact]
    public async Task An_exec_session_runs_beside_the_workload()
    {
        await using var vmm = await Driver.LaunchAsync(_harness.NewSpec(), _harness.Deadline);
        await using var link = await _harness.ConnectAsync(vmm);
        await link.SendAsync(new Configure(_harness.Configuration(_harness.RunForEver)), _harness.Deadline);
        Assert.IsType<WorkloadStarted>(await link.Messages.ReadAsync(_harness.Deadline));
        await using var output = link.OpenRead(LinkStreams.ExecStdout(1));
        var input = link.OpenWrite(LinkStreams.ExecStdin(1));

        await link.SendAsync(new StartExec(1, new ProcessConfig { Arguments = ["cat", ";", "exit", "4"] }, HasStdin: true), _harness.Deadline);
        await input.WriteAsync("through"u8.ToArray(), _harness.Deadline);
        await input.CompleteAsync(_harness.Deadline);

        var buffer = new byte[16];
        Assert.Equal(7, await output.ReadAsync(buffer, _harness.Deadline));
        output.Consume(output.Offset);
        Assert.Equal(new ExecExited(1, 4, 0), await link.Messages.ReadAsync(_harness.Deadline));
    }

    [Fact]
    public async Task A_thousand_vms_are_cheap()
    {
        var spec = _harness.NewSpec();

        var vmms = await Task.WhenAll(
            Enumerable.Range(0, 1000).Select(i => Driver.LaunchAsync(spec with { Id = $"vm-{i}" }, _harness.Deadline)));

        Assert.Equal(1000, vmms.Select(vmm => vmm.Record.Pid).Distinct().Count());
    }
}
