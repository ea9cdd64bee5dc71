using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Ravel.Linux.Guest;

/// <summary>Addresses and routes of the guest's interfaces over rtnetlink(7).</summary>
public sealed unsafe class Interfaces : IDisposable
{
    private const ushort NewLink = 16;
    private const ushort NewAddress = 20;
    private const ushort NewRoute = 24;
    private const ushort ErrorMessage = 2;
    private const int HeaderLength = 16;

    private readonly byte[] _message = new byte[512];
    private readonly int _socket;
    private int _length;
    private uint _sequence;

    public Interfaces()
    {
        const int Netlink = 16;
        const int Raw = 3;
        _socket = GuestCalls.Socket(Netlink, Raw | Descriptors.CloseOnExec, 0);
        if (_socket < 0)
            throw SystemCallException.Last("open a netlink socket");
    }

    public void Dispose() => Descriptors.Close(_socket);

    /// <summary>Sets address and MTU of an interface that is down.</summary>
    public void Configure(int index, ReadOnlySpan<byte> mac, int mtu)
    {
        const ushort Address = 1;
        const ushort Mtu = 4;
        BeginLink(index, up: false);
        Attribute(Address, mac);
        Attribute(Mtu, mtu);
        Send($"set MAC and MTU of interface {index}");
    }

    public void SetUp(int index)
    {
        BeginLink(index, up: true);
        Send($"set interface {index} up");
    }

    /// <summary>Adds an address without duplicate address detection: the host has seen to it, and it would cost a second.</summary>
    public void AddAddress(int index, IPAddress address, int prefixLength)
    {
        const byte NoDetection = 2;
        const ushort Address = 1;
        const ushort Local = 2;
        var bytes = address.GetAddressBytes();
        Begin(NewAddress, 8);
        var body = _message.AsSpan(HeaderLength);
        body[0] = Family(address);
        body[1] = (byte)prefixLength;
        body[2] = NoDetection;
        BinaryPrimitives.WriteInt32LittleEndian(body[4..], index);
        Attribute(Local, bytes);
        Attribute(Address, bytes);
        Send($"add address {address}/{prefixLength}");
    }

    /// <summary>The neighbour <paramref name="gateway"/> is on the link, whatever the prefix of our own address.</summary>
    public void AddNeighbourRoute(int index, IPAddress gateway)
    {
        const byte LinkScope = 253;
        var bytes = gateway.GetAddressBytes();
        BeginRoute(gateway, bytes.Length * 8, LinkScope, flags: 0);
        Attribute(1, bytes);
        Attribute(4, index);
        Send($"add a route to {gateway}");
    }

    public void AddDefaultRoute(int index, IPAddress gateway)
    {
        const uint OnLink = 4;
        BeginRoute(gateway, 0, scope: 0, OnLink);
        Attribute(5, gateway.GetAddressBytes());
        Attribute(4, index);
        Send($"add a default route over {gateway}");
    }

    private void BeginLink(int index, bool up)
    {
        const int Up = 1;
        Begin(NewLink, 16);
        var body = _message.AsSpan(HeaderLength);
        BinaryPrimitives.WriteInt32LittleEndian(body[4..], index);
        BinaryPrimitives.WriteInt32LittleEndian(body[8..], up ? Up : 0);
        BinaryPrimitives.WriteInt32LittleEndian(body[12..], up ? Up : 0);
    }

    private void BeginRoute(IPAddress gateway, int prefixLength, byte scope, uint flags)
    {
        const byte MainTable = 254;
        const byte BootProtocol = 3;
        const byte Unicast = 1;
        Begin(NewRoute, 12);
        var body = _message.AsSpan(HeaderLength);
        body[0] = Family(gateway);
        body[1] = (byte)prefixLength;
        body[4] = MainTable;
        body[5] = BootProtocol;
        body[6] = scope;
        body[7] = Unicast;
        BinaryPrimitives.WriteUInt32LittleEndian(body[8..], flags);
    }

    private static byte Family(IPAddress address) => address.AddressFamily == AddressFamily.InterNetwork ? (byte)2 : (byte)10;

    private void Begin(ushort type, int bodyLength)
    {
        const ushort Request = 0x1;
        const ushort Acknowledge = 0x4;
        const ushort Replace = 0x100;
        const ushort Create = 0x400;
        // Interfaces are changed; addresses and routes may be there from before a restore.
        var flags = (ushort)(type == NewLink ? Request | Acknowledge : Request | Acknowledge | Replace | Create);
        _message.AsSpan().Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(_message.AsSpan(4), type);
        BinaryPrimitives.WriteUInt16LittleEndian(_message.AsSpan(6), flags);
        BinaryPrimitives.WriteUInt32LittleEndian(_message.AsSpan(8), ++_sequence);
        _length = HeaderLength + bodyLength;
    }

    private void Attribute(ushort type, int value) => Attribute(type, MemoryMarshal.AsBytes(new ReadOnlySpan<int>(in value)));

    private void Attribute(ushort type, ReadOnlySpan<byte> value)
    {
        var attribute = _message.AsSpan(_length);
        BinaryPrimitives.WriteUInt16LittleEndian(attribute, (ushort)(4 + value.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(attribute[2..], type);
        value.CopyTo(attribute[4..]);
        _length += (4 + value.Length + 3) & ~3;
    }

    private void Send(string attempt)
    {
        BinaryPrimitives.WriteInt32LittleEndian(_message, _length);
        var sent = Descriptors.Write(_socket, _message.AsSpan(0, _length));
        if (sent < 0)
            throw new SystemCallException(attempt, -sent);
        Span<byte> answer = stackalloc byte[1024];
        while (true)
        {
            var read = Descriptors.Read(_socket, answer);
            if (read < 0)
                throw new SystemCallException(attempt, -read);
            if (read < HeaderLength + 4 || BinaryPrimitives.ReadUInt16LittleEndian(answer[4..]) != ErrorMessage
                || BinaryPrimitives.ReadUInt32LittleEndian(answer[8..]) != _sequence)
            {
                continue;
            }
            var error = -BinaryPrimitives.ReadInt32LittleEndian(answer[HeaderLength..]);
            if (error != 0)
                throw new SystemCallException(attempt, error);
            return;
        }
    }
}
