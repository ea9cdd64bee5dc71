using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Ravel.Testing.Network;

/// <summary>Ethernet frames made by hand, for what a well-behaved stack would not send.</summary>
public static class Frames
{
    private static readonly byte[] Broadcast = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

    /// <summary>A UDP datagram over IPv4 or IPv6.</summary>
    public static byte[] Udp(byte[] toMac, byte[] fromMac, IPAddress from, IPAddress to, int toPort, ReadOnlySpan<byte> payload)
    {
        byte[] udp = [0x13, 0x88, .. Big(toPort), .. Big(8 + payload.Length), 0, 0, .. payload];
        if (from.AddressFamily == AddressFamily.InterNetwork)
        {
            byte[] ip =
            [
                0x45, 0, .. Big(20 + udp.Length), 0, 0, 0, 0, 64, 17, 0, 0,
                .. from.GetAddressBytes(), .. to.GetAddressBytes(),
            ];
            Big(Checksum(ip)).CopyTo(ip, 10);
            return [.. toMac, .. fromMac, 0x08, 0x00, .. ip, .. udp];
        }
        byte[] pseudo = [.. from.GetAddressBytes(), .. to.GetAddressBytes(), 0, 0, .. Big(udp.Length), 0, 0, 0, 17, .. udp];
        Big(Checksum(pseudo)).CopyTo(udp, 6);
        return
        [
            .. toMac, .. fromMac, 0x86, 0xdd, 0x60, 0, 0, 0, .. Big(udp.Length), 17, 64,
            .. from.GetAddressBytes(), .. to.GetAddressBytes(), .. udp,
        ];
    }

    /// <summary>"Who has <paramref name="target"/>? Tell <paramref name="sender"/>" (RFC 826).</summary>
    public static byte[] ArpRequest(byte[] fromMac, byte[] senderMac, IPAddress sender, IPAddress target) =>
    [
        .. Broadcast, .. fromMac, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1,
        .. senderMac, .. sender.GetAddressBytes(), 0, 0, 0, 0, 0, 0, .. target.GetAddressBytes(),
    ];

    public static bool IsArpReply(byte[] frame, IPAddress about) =>
        frame.Length >= 42 && frame.AsSpan(12, 2).SequenceEqual((byte[])[0x08, 0x06]) && frame[21] == 2
        && frame.AsSpan(28, 4).SequenceEqual(about.GetAddressBytes());

    private static byte[] Big(int value)
    {
        var bytes = new byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(bytes, (ushort)value);
        return bytes;
    }

    private static int Checksum(byte[] bytes)
    {
        var sum = 0u;
        for (var i = 0; i < bytes.Length; i += 2)
            sum += (uint)(bytes[i] << 8 | (i + 1 < bytes.Length ? bytes[i + 1] : 0));
        while (sum >> 16 != 0)
            sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)~sum;
    }
}
