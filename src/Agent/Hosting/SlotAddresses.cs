using System.Buffers.Binary;
using System.Net;

namespace Ravel.Agent.Hosting;

/// <summary>
/// The addresses of one slot, all computed: IPv4 is 100.(64+slot).0.0/16 out of the shared address space (RFC 6598), IPv6 a
/// unique local /48 (RFC 4193) of <c>fd</c>, 24 bits cluster and 16 bits node, then 32 bits network and 48 bits machine.
/// </summary>
/// <param name="Slot">0–63.</param>
/// <param name="Cluster">24 random bits, the same on every node of a cluster.</param>
/// <param name="Node">Unique among the nodes of the cluster.</param>
public sealed record SlotAddresses(int Slot, int Cluster, ushort Node)
{
    /// <summary>The machines' highest index: .0.0 is the network, .0.1 the gateway, 255.255 the broadcast address.</summary>
    public const int MaxAddressIndex = 0xFFFE - 1;

    /// <summary>The gateway of every guest, an address of its own tap.</summary>
    public IPAddress GatewayV4 => V4Of(1);

    /// <summary>On every tap; link-local, so that it needs no route and means nothing elsewhere.</summary>
    public static IPAddress GatewayV6 { get; } = IPAddress.Parse("fe80::1");

    /// <summary>All guests of the slot, <c>ADDRESS/LENGTH</c>.</summary>
    public string RangeV4 => $"{V4Of(0)}/16";

    /// <summary>All guests of the slot, <c>ADDRESS/LENGTH</c>.</summary>
    public string RangeV6 => $"{V6Of(0, 0)}/48";

    /// <exception cref="ArgumentOutOfRangeException">Not 1–<see cref="MaxAddressIndex"/>.</exception>
    public IPAddress GuestV4(int addressIndex) => V4Of(Checked(addressIndex) + 1);

    /// <exception cref="ArgumentOutOfRangeException">An index is not positive, or too large.</exception>
    public IPAddress GuestV6(int networkIndex, int addressIndex)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(networkIndex, 1);
        return V6Of(networkIndex, Checked(addressIndex));
    }

    /// <summary>Locally administered, unicast, the same for a machine as long as it keeps its index.</summary>
    public string GuestMac(int addressIndex)
    {
        Checked(addressIndex);
        return $"02:52:56:{Slot:x2}:{addressIndex >> 8:x2}:{addressIndex & 0xff:x2}";
    }

    /// <summary>The address a guest's kernel gives itself from its MAC (modified EUI-64, RFC 4291 appendix A).</summary>
    public IPAddress GuestLinkLocal(int addressIndex)
    {
        Checked(addressIndex);
        ReadOnlySpan<byte> bytes =
        [
            0xfe, 0x80, 0, 0, 0, 0, 0, 0,
            0x00, 0x52, 0x56, 0xff, 0xfe, (byte)Slot, (byte)(addressIndex >> 8), (byte)addressIndex,
        ];
        return new IPAddress(bytes);
    }

    private static int Checked(int addressIndex)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(addressIndex, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(addressIndex, MaxAddressIndex);
        return addressIndex;
    }

    private IPAddress V4Of(int host) => new([100, (byte)(64 + Slot), (byte)(host >> 8), (byte)host]);

    private IPAddress V6Of(int network, int machine)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, 0xfd000000u | (uint)Cluster & 0xffffff);
        BinaryPrimitives.WriteUInt16BigEndian(bytes[4..], Node);
        BinaryPrimitives.WriteInt32BigEndian(bytes[6..], network);
        BinaryPrimitives.WriteInt32BigEndian(bytes[12..], machine);
        return new IPAddress(bytes);
    }
}
