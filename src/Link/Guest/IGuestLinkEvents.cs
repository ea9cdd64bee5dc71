using Ravel.Contracts.Link;

namespace Ravel.Link;

/// <summary>What a guest learns from its link, from within <see cref="GuestLink.Receive"/>.</summary>
public interface IGuestLinkEvents
{
    /// <summary>
    /// A host said hello. Returns the guest's own hello; messages sent from here follow it (a guest that has exited repeats
    /// its exit).
    /// </summary>
    GuestHello SessionStarted(HostHello host);

    /// <summary>The host is gone or another begins: exec sessions and their streams are no more, workload output is kept.</summary>
    void SessionEnded();

    void MessageReceived(HostMessage message);
}
