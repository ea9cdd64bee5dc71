namespace Ravel.Vmm.Qemu;

/// <summary>
/// A guest whose write meets a full host disk is stopped by QEMU with the write kept (<c>werror=enospc</c>, its default). It is let go on, which
/// tries the write again, until there is room: nothing of the guest is lost or sees an error. One that Ravel has paused stays paused.
/// </summary>
internal sealed class QemuStall(QemuVm vm, TimeProvider time) : IDisposable
{
    /// <summary>What QEMU calls the state of such a guest.</summary>
    public const string Status = "io-error";

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    private readonly SemaphoreSlim _stopped = new(0);

    /// <summary>Held over every change between running and not.</summary>
    private readonly SemaphoreSlim _turn = new(1);
    private bool _isPaused;

    /// <summary>QEMU says that its guest does not run, for whatever reason: that is asked later.</summary>
    public void OnStop() => _stopped.Release();

    public Task PauseAsync(Func<Task> pause, CancellationToken cancellationToken) => ChangeAsync(true, pause, cancellationToken);

    public Task ResumeAsync(Func<Task> resume, CancellationToken cancellationToken) => ChangeAsync(false, resume, cancellationToken);

    /// <summary>Runs until the process has ended or the VM is let go of.</summary>
    public async Task RunAsync(Task exited, CancellationToken cancellationToken)
    {
        try
        {
            while (!exited.IsCompleted)
            {
                await _stopped.WaitAsync(cancellationToken).ConfigureAwait(false);
                await Task.Delay(RetryAfter, time, cancellationToken).ConfigureAwait(false);
                await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
                try
                {
                    // Written again and in vain, it stops again, and says so.
                    if (!_isPaused && await vm.GetStatusAsync(cancellationToken).ConfigureAwait(false) == Status)
                        await vm.Monitor.ExecuteAsync("cont", null, cancellationToken).ConfigureAwait(false);
                }
                catch (VmmException)
                {
                    // A busy QEMU is asked again; one that has ended ends this.
                    OnStop();
                }
                finally
                {
                    _turn.Release();
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Let go of: whoever adopts the VM asks how it is.
        }
    }

    /// <summary>Once <see cref="RunAsync"/> has ended.</summary>
    public void Dispose()
    {
        _stopped.Dispose();
        _turn.Dispose();
    }

    private async Task ChangeAsync(bool isPaused, Func<Task> change, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            // Before QEMU has it: one that it may have taken is not undone by a retry.
            _isPaused |= isPaused;
            await change().ConfigureAwait(false);
            _isPaused = isPaused;
        }
        finally
        {
            _turn.Release();
        }
    }
}
