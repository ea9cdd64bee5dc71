using System.Buffers.Binary;
using System.IO.Hashing;
using Ravel.Contracts.Link;

namespace Ravel.Link;

/// <summary>The fixed part of a frame (layout: <see cref="LinkProtocol"/>).</summary>
internal readonly record struct FrameHeader(FrameType Type, FrameFlags Flags, uint Stream, ulong Offset, int Length)
{
    private const int CrcAt = 20;

    public bool IsEnd => (Flags & FrameFlags.End) != 0;

    /// <summary>
    /// Completes a frame whose payload already lies <see cref="LinkProtocol.HeaderLength"/> bytes into <paramref name="frame"/>.
    /// Returns the length of the whole frame.
    /// </summary>
    public static int Seal(Span<byte> frame, FrameType type, FrameFlags flags, uint stream, ulong offset, int payloadLength)
    {
        frame = frame[..(LinkProtocol.HeaderLength + payloadLength)];
        BinaryPrimitives.WriteInt32LittleEndian(frame, payloadLength);
        frame[4] = (byte)type;
        frame[5] = (byte)flags;
        BinaryPrimitives.WriteUInt16LittleEndian(frame[6..], 0);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[8..], stream);
        BinaryPrimitives.WriteUInt64LittleEndian(frame[12..], offset);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[CrcAt..], 0);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[CrcAt..], Crc32.HashToUInt32(frame));
        return frame.Length;
    }

    /// <summary>Reads a header without its checksum; null when it cannot be one.</summary>
    public static FrameHeader? Parse(ReadOnlySpan<byte> header)
    {
        var length = BinaryPrimitives.ReadUInt32LittleEndian(header);
        var type = (FrameType)header[4];
        var flags = (FrameFlags)header[5];
        if (length > LinkProtocol.MaxPayload || type is < FrameType.Control or > FrameType.Pong)
            return null;
        if ((flags & ~FrameFlags.End) != 0 || header[6] != 0 || header[7] != 0)
            return null;
        return new FrameHeader(
            type,
            flags,
            BinaryPrimitives.ReadUInt32LittleEndian(header[8..]),
            BinaryPrimitives.ReadUInt64LittleEndian(header[12..]),
            (int)length);
    }

    /// <summary>Whether the checksum of a whole frame is right. Leaves the frame as it was.</summary>
    public static bool Verify(Span<byte> frame)
    {
        var field = frame[CrcAt..];
        var crc = BinaryPrimitives.ReadUInt32LittleEndian(field);
        BinaryPrimitives.WriteUInt32LittleEndian(field, 0);
        var computed = Crc32.HashToUInt32(frame);
        BinaryPrimitives.WriteUInt32LittleEndian(field, crc);
        return computed == crc;
    }
}
