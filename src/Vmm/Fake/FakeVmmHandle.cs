namespace Ravel.Vmm.Fake;

/// <summary>Somebody's hold on a <see cref="FakeVm"/>.</summary>
internal sealed class FakeVmmHandle : IVmm
{
    private readonly FakeVmmDriver _driver;
    private readonly FakeVm _vm;
    private volatile bool _isDisposed;

    public FakeVmmHandle(FakeVmmDriver driver, FakeVm vm)
    {
        _driver = driver;
        _vm = vm;
        // A VMM whose end was seen is gone; one that ended while nobody looked can still be asked how.
        _ = vm.Exited.ContinueWith(
            _ =>
            {
                if (!_isDisposed)
                    driver.Forget(vm);
            },
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);
    }

    public VmmRecord Record => _vm.Record;

    public Task<VmmExit> Exited => _vm.Exited;

    public async Task<GuestChannel> ConnectGuestAsync(CancellationToken cancellationToken) =>
        new(await _vm.ConnectAsync(cancellationToken).ConfigureAwait(false), _driver.IsLossy);

    public Task PauseAsync(CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        _vm.Pause();
        return Task.CompletedTask;
    }

    public Task ResumeAsync(CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        _vm.Resume();
        return Task.CompletedTask;
    }

    public Task<VmSnapshot> SnapshotAsync(string directory, CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        return _driver.SaveAsync(_vm, directory, cancellationToken);
    }

    public Task SetLimitsAsync(VmLimits limits, CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        _vm.Limit(limits);
        return Task.CompletedTask;
    }

    public Task<VmmMetrics> GetMetricsAsync(CancellationToken cancellationToken)
    {
        ThrowIfEnded();
        return Task.FromResult(_vm.Measure());
    }

    public Task<string> ReadConsoleAsync(CancellationToken cancellationToken) => Task.FromResult(_vm.ReadConsole());

    public async Task KillAsync(CancellationToken cancellationToken)
    {
        if (_vm.Faults.KillHangs)
            await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(false);
        _vm.End(new VmmExit(VmmExitKind.Killed, "killed"));
        _driver.Forget(_vm);
    }

    public ValueTask DisposeAsync()
    {
        _isDisposed = true;
        return ValueTask.CompletedTask;
    }

    private void ThrowIfEnded()
    {
        if (_vm.Exited.IsCompleted)
            throw new VmmException($"fake VMM {_vm.Record.Id} has ended: {_vm.Exited.Result.Detail}");
    }
}
