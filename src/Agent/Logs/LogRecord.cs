using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using Ravel.Contracts.Ids;

namespace Ravel.Agent.Logs;

internal enum LogStream : byte
{
    Stdout = 1,
    Stderr = 2,

    /// <summary>Written by the agent.</summary>
    System = 3,

    /// <summary>Not output: where both streams of an instance stood when the segment began.</summary>
    Mark = 4,
}

/// <summary>
/// One record of a log file.
/// <code>
/// record = length:u32le crc:u32le stream:u8 instance[26] nanoseconds:i64le end:u64le data[length - 43]
/// </code>
/// <c>crc</c> is CRC-32 (IEEE) over what follows it; <c>end</c> is the offset in the guest's stream behind the data, so that
/// after a crash the file itself says where to go on.
/// </summary>
internal readonly record struct LogRecord(LogStream Stream, InstanceId Instance, long Nanoseconds, ulong End, ReadOnlyMemory<byte> Data)
{
    public const int HeaderLength = 4 + 4 + FixedLength;

    /// <summary>Longest data: an over-long line is stored in parts of this length.</summary>
    public const int MaxData = 16 * 1024;

    private const int InstanceLength = 26;
    private const int FixedLength = 1 + InstanceLength + 8 + 8;

    /// <summary>Whether this is the end of a line, not a part of one.</summary>
    public bool EndsLine => Data.Length > 0 && Data.Span[^1] == (byte)'\n';

    public int EncodedLength => HeaderLength + Data.Length;

    public int Write(Span<byte> target)
    {
        var length = FixedLength + Data.Length;
        BinaryPrimitives.WriteInt32LittleEndian(target, length);
        var body = target.Slice(8, length);
        body[0] = (byte)Stream;
        Encoding.ASCII.GetBytes(Instance.ToString(), body[1..]);
        BinaryPrimitives.WriteInt64LittleEndian(body[(1 + InstanceLength)..], Nanoseconds);
        BinaryPrimitives.WriteUInt64LittleEndian(body[(1 + InstanceLength + 8)..], End);
        Data.Span.CopyTo(body[FixedLength..]);
        BinaryPrimitives.WriteUInt32LittleEndian(target[4..], Crc32.HashToUInt32(body));
        return 8 + length;
    }

    /// <summary>Reads the record at the beginning of <paramref name="source"/>; its data is a part of it.</summary>
    /// <returns>Its length; 0 when more bytes are needed, -1 when there is no record.</returns>
    public static int TryRead(ReadOnlyMemory<byte> source, out LogRecord record)
    {
        record = default;
        var span = source.Span;
        if (span.Length < 8)
            return 0;
        var length = BinaryPrimitives.ReadInt32LittleEndian(span);
        if (length is < FixedLength or > FixedLength + MaxData)
            return -1;
        if (span.Length < 8 + length)
            return 0;
        var body = span.Slice(8, length);
        if (BinaryPrimitives.ReadUInt32LittleEndian(span[4..]) != Crc32.HashToUInt32(body)
            || !InstanceId.TryParse(Encoding.ASCII.GetString(body.Slice(1, InstanceLength)), out var instance))
        {
            return -1;
        }
        record = new LogRecord(
            (LogStream)body[0],
            instance,
            BinaryPrimitives.ReadInt64LittleEndian(body[(1 + InstanceLength)..]),
            BinaryPrimitives.ReadUInt64LittleEndian(body[(1 + InstanceLength + 8)..]),
            source.Slice(8 + FixedLength, length - FixedLength));
        return 8 + length;
    }
}

/// <summary>How much of an instance's output is in the log, as offsets in the guest's streams.</summary>
internal readonly record struct LogOffsets(ulong Stdout, ulong Stderr);
