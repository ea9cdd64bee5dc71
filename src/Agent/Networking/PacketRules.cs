using System.Net;

namespace Ravel.Agent.Networking;

/// <summary>Everything <see cref="NftTable"/> is rendered from.</summary>
/// <param name="Table">Name of the tables.</param>
/// <param name="TapPrefix">With which all taps of this slot begin.</param>
/// <param name="GatewayV4">The guests' gateway and nameserver.</param>
/// <param name="GatewayV6">The guests' gateway.</param>
/// <param name="RangeV4">All guests of this slot.</param>
/// <param name="RangeV6">All guests of this slot.</param>
/// <param name="Resolver">Where the guests' DNS queries go, null when the host has none.</param>
/// <param name="Allowed">Ranges that guests may reach though they are private.</param>
/// <param name="Guests">In any order.</param>
internal sealed record PacketRules(
    string Table,
    string TapPrefix,
    IPAddress GatewayV4,
    IPAddress GatewayV6,
    string RangeV4,
    string RangeV6,
    IPAddress? Resolver,
    IReadOnlyList<IPNetwork> Allowed,
    IReadOnlyList<GuestAddresses> Guests);

/// <summary>Who may speak on a tap, and what of the host leads to it.</summary>
internal sealed record GuestAddresses(
    int Index,
    string Tap,
    string Mac,
    IPAddress V4,
    IPAddress V6,
    IPAddress LinkLocal,
    int Network,
    IReadOnlyList<PortMapping> Ports,
    long? BytesPerSecond = null);
