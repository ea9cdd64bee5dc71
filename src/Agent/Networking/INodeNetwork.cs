using Ravel.Contracts.Ids;

namespace Ravel.Agent.Networking;

/// <summary>
/// The node's side of every machine's network: taps, routes, one nftables table. Stands at the kernel boundary; tests
/// without root use a fake.
/// </summary>
public interface INodeNetwork
{
    /// <summary>
    /// Makes the kernel match exactly <paramref name="wanted"/>: taps and ports that are in it are kept as they are (running
    /// guests notice nothing), strays of this agent are removed, the table is replaced. Called at start, before any work,
    /// and on a timer.
    /// </summary>
    Task ReconcileAsync(IReadOnlyCollection<NetworkAttachment> wanted, CancellationToken cancellationToken);

    /// <summary>Makes the tap, the route and the rules of one instance. Idempotent.</summary>
    /// <exception cref="NetworkException"><c>port-taken</c> when a published port is in use on the host.</exception>
    Task<InstanceNetwork> AttachAsync(NetworkAttachment attachment, CancellationToken cancellationToken);

    /// <summary>Changes how much may go through an instance's tap, as <see cref="NetworkAttachment.BytesPerSecond"/>. Nothing happens to one that is not attached.</summary>
    /// <exception cref="NetworkException">The kernel refused; it keeps what it had until the next <see cref="ReconcileAsync"/>.</exception>
    Task LimitAsync(InstanceId instance, long? bytesPerSecond, CancellationToken cancellationToken);

    /// <summary>What went through the taps since they were made.</summary>
    /// <exception cref="NetworkException">The kernel does not say.</exception>
    Task<IReadOnlyDictionary<InstanceId, GuestTraffic>> ReadTrafficAsync(CancellationToken cancellationToken);

    /// <summary>Removes what <see cref="AttachAsync"/> made. Idempotent.</summary>
    Task DetachAsync(InstanceId instance, CancellationToken cancellationToken);
}

/// <param name="Instance">Names the tap.</param>
/// <param name="Machine">Owner.</param>
/// <param name="AddressIndex">Unique on the node, stable over the machine's life, ≥ 1: the host part of its addresses.</param>
/// <param name="NetworkIndex">Unique per namespace on the node, ≥ 1; machines of one index may talk to each other.</param>
/// <param name="Ports">Ports of the host that lead to the guest.</param>
public sealed record NetworkAttachment(
    InstanceId Instance,
    MachineId Machine,
    int AddressIndex,
    int NetworkIndex,
    IReadOnlyList<PortMapping> Ports)
{
    /// <summary>What may go through the tap each second, in each direction; a second's worth may come at once. Null = not limited.</summary>
    public long? BytesPerSecond { get; init; }
}

/// <summary>What a guest received and sent.</summary>
public readonly record struct GuestTraffic(long ReceivedBytes, long ReceivedPackets, long SentBytes, long SentPackets);

/// <param name="Protocol"><c>tcp</c> or <c>udp</c>.</param>
/// <param name="HostAddress">IPv4 address of the host, or null for all.</param>
/// <param name="HostPort">1–65535.</param>
/// <param name="GuestPort">1–65535.</param>
public sealed record PortMapping(string Protocol, string? HostAddress, int HostPort, int GuestPort);

/// <summary>
/// What the VMM and the guest need to know. Addresses with prefix length; the IPv6 ones are empty on a host without IPv6. The IPv6
/// gateway is link-local: the guest's route to it needs the interface.
/// </summary>
public sealed record InstanceNetwork(
    string Tap,
    string Mac,
    string AddressV4,
    string AddressV6,
    string GatewayV4,
    string GatewayV6,
    IReadOnlyList<string> Nameservers,
    int Mtu);

public sealed class NetworkException : Exception
{
    public NetworkException(string code, string message)
        : base(message) => Code = code;

    /// <summary>A problem code of the API: <c>port-taken</c> or <c>internal</c>.</summary>
    public string Code { get; }
}
