using Ravel.Contracts.Link;

namespace Ravel.Agent.Guests;

/// <summary>Is told what a guest and its VMM do. A call returns when what it tells is in the journal.</summary>
internal interface IGuestObserver
{
    /// <summary>Whether the workload is known to have been started: a guest that waits for its configuration then has lost it.</summary>
    bool ExpectsRunningGuest { get; }

    Task GuestStartedAsync();

    Task GuestFailedAsync(int exitCode, string message);

    Task GuestExitedAsync(WorkloadExited exit);

    Task GuestBrokenAsync(string message);

    Task VmmExitedAsync(string detail);
}
