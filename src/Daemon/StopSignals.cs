using System.Runtime.InteropServices;

namespace Ravel.Daemon;

/// <summary>
/// SIGTERM, SIGINT and SIGQUIT, listened to before anything is begun: each of the two applications listening for itself would lose
/// one that comes while the other starts.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    private readonly TaskCompletionSource _came = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _registrations;

    public StopSignals() => _registrations =
    [
        .. new[] { PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGQUIT }.Select(signal => PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            _came.TrySetResult();
            _source.Cancel();
        })),
    ];

    /// <summary>For applications, which are stopped by who waits for <see cref="Came"/>.</summary>
    public static IHostLifetime Elsewhere { get; } = new NoSignals();

    /// <summary>Complete once one of them has come, whenever that was.</summary>
    public Task Came => _came.Task;

    /// <summary>For what can be given up before anything is served.</summary>
    public CancellationToken Token => _source.Token;

    public void Dispose()
    {
        foreach (var registration in _registrations)
            registration.Dispose();
        _source.Dispose();
    }

    private sealed class NoSignals : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
