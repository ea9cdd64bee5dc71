using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Ravel.Linux.Network;

/// <summary>One netlink request being written: header, family header, attributes, each padded to 4 bytes (netlink(7)).</summary>
internal sealed class NetlinkMessage
{
    private byte[] _bytes = new byte[256];
    private int _length;

    private NetlinkMessage()
    {
    }

    internal ReadOnlySpan<byte> Bytes => _bytes.AsSpan(0, _length);

    internal static NetlinkMessage Create<T>(ushort type, ushort flags, in T familyHeader)
        where T : unmanaged
    {
        var message = new NetlinkMessage();
        message.Append(new NlMsgHdr { Type = type, Flags = flags });
        message.Append(familyHeader);
        return message;
    }

    internal NetlinkMessage Add(ushort type, ReadOnlySpan<byte> value)
    {
        Append(new NlAttr { Len = checked((ushort)(Unsafe.SizeOf<NlAttr>() + value.Length)), Type = type });
        value.CopyTo(Reserve(value.Length));
        return this;
    }

    internal NetlinkMessage Add(ushort type, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        MemoryMarshal.Write(bytes, value);
        return Add(type, bytes);
    }

    internal NetlinkMessage AddBigEndian(ushort type, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return Add(type, bytes);
    }

    internal NetlinkMessage Add(ushort type, byte value) => Add(type, [value]);

    /// <summary>Text with its terminating zero.</summary>
    internal NetlinkMessage Add(ushort type, string value) => Add(type, Encoding.UTF8.GetBytes(value + "\0"));

    /// <summary>An attribute made of attributes.</summary>
    internal NetlinkMessage Nest(ushort type, Action<NetlinkMessage> content)
    {
        var begin = _length;
        Append(new NlAttr { Type = type });
        content(this);
        MemoryMarshal.Write(_bytes.AsSpan(begin), new NlAttr { Len = checked((ushort)(_length - begin)), Type = type });
        return this;
    }

    /// <summary>Fills in what only the sender knows: total length and sequence number.</summary>
    internal void Finish(uint sequence)
    {
        ref var header = ref MemoryMarshal.AsRef<NlMsgHdr>(_bytes.AsSpan());
        header.Len = (uint)_length;
        header.Seq = sequence;
    }

    internal static int Align(int length) => (length + 3) & ~3;

    private void Append<T>(in T value)
        where T : unmanaged => MemoryMarshal.Write(Reserve(Unsafe.SizeOf<T>()), value);

    private Span<byte> Reserve(int length)
    {
        var begin = _length;
        _length += Align(length);
        if (_length > _bytes.Length)
            Array.Resize(ref _bytes, Math.Max(_length, _bytes.Length * 2));
        return _bytes.AsSpan(begin, length);
    }
}

/// <summary>Walks over attributes; ends at the first that does not fit.</summary>
internal ref struct NetlinkAttributes(ReadOnlySpan<byte> bytes)
{
    /// <summary>The upper two bits of a type are flags: nested, network byte order.</summary>
    private const ushort TypeMask = 0x3fff;

    private ReadOnlySpan<byte> _rest = bytes;

    internal ushort Type { get; private set; }

    internal ReadOnlySpan<byte> Value { get; private set; }

    internal bool Next()
    {
        if (_rest.Length < Unsafe.SizeOf<NlAttr>())
            return false;
        var header = MemoryMarshal.Read<NlAttr>(_rest);
        if (header.Len < Unsafe.SizeOf<NlAttr>() || header.Len > _rest.Length)
            return false;
        Type = (ushort)(header.Type & TypeMask);
        Value = _rest[Unsafe.SizeOf<NlAttr>()..header.Len];
        _rest = _rest[Math.Min(NetlinkMessage.Align(header.Len), _rest.Length)..];
        return true;
    }

    /// <summary>The first attribute of <paramref name="type"/>, empty when there is none.</summary>
    internal static ReadOnlySpan<byte> Find(ReadOnlySpan<byte> attributes, ushort type)
    {
        var walk = new NetlinkAttributes(attributes);
        while (walk.Next())
        {
            if (walk.Type == type)
                return walk.Value;
        }
        return [];
    }
}
