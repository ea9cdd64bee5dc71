using System.Buffers;
using System.Globalization;
using System.Text;

namespace Ravel.Images.Tar;

/// <summary>
/// Writes tar archives in the PAX format (POSIX.1-2017, pax): a plain ustar header, and an extended one in front of it for what
/// that cannot hold. The same entries give the same bytes.
/// </summary>
/// <remarks>The caller writes exactly the size it announced, then <see cref="PadAsync"/>.</remarks>
internal sealed class TarWriter(Stream output)
{
    private const long MostOctal11 = 0x1_ffff_ffff;
    private const uint MostOctal7 = 0x1f_ffff;

    private static readonly byte[] Zeros = new byte[TarReader.BlockSize * 2];

    /// <summary>What an entry without content or a file of <paramref name="entry"/>'s size begins with.</summary>
    public async ValueTask WriteHeaderAsync(TarEntry entry, CancellationToken cancellationToken)
    {
        var records = Records(entry);
        if (records.Length > 0)
        {
            var extended = new TarEntry
            {
                Type = TarEntryType.Regular,
                // A reader that knows no extended headers makes a file of it.
                Name = "PaxHeaders.0/entry"u8.ToArray(),
                LinkTarget = [],
                Permissions = 0x1a4,
                UserId = 0,
                GroupId = 0,
                Seconds = 0,
                Nanoseconds = 0,
                Size = records.Length,
                DeviceMajor = 0,
                DeviceMinor = 0,
                Xattrs = [],
            };
            await output.WriteAsync(Header(extended, (byte)'x'), cancellationToken);
            await output.WriteAsync(records, cancellationToken);
            await PadAsync(records.Length, cancellationToken);
        }
        await output.WriteAsync(Header(entry, FlagOf(entry.Type)), cancellationToken);
    }

    /// <summary>A whole file of this archive's own: no owner, no time.</summary>
    public async ValueTask WriteFileAsync(string name, byte[] content, CancellationToken cancellationToken)
    {
        await WriteFileHeaderAsync(name, content.Length, cancellationToken);
        await output.WriteAsync(content, cancellationToken);
        await PadAsync(content.Length, cancellationToken);
    }

    public ValueTask WriteFileHeaderAsync(string name, long size, CancellationToken cancellationToken) => WriteHeaderAsync(
        new TarEntry
        {
            Type = TarEntryType.Regular,
            Name = Encoding.UTF8.GetBytes(name),
            LinkTarget = [],
            Permissions = 0x1a4,
            UserId = 0,
            GroupId = 0,
            Seconds = 0,
            Nanoseconds = 0,
            Size = size,
            DeviceMajor = 0,
            DeviceMinor = 0,
            Xattrs = [],
        },
        cancellationToken);

    /// <summary>Fills the last block of a content of this size.</summary>
    public ValueTask PadAsync(long size, CancellationToken cancellationToken) =>
        output.WriteAsync(Zeros.AsMemory(0, (int)(-size & (TarReader.BlockSize - 1))), cancellationToken);

    /// <summary>The archive's end.</summary>
    public ValueTask EndAsync(CancellationToken cancellationToken) => output.WriteAsync(Zeros, cancellationToken);

    /// <summary>How long a file becomes in an archive, header and padding included, whose name and size need no extended header.</summary>
    public static long FileLength(long size) => TarReader.BlockSize + ((size + TarReader.BlockSize - 1) & -TarReader.BlockSize)
        + (size > MostOctal11 ? 2 * TarReader.BlockSize : 0);

    private static byte[] Header(TarEntry entry, byte flag)
    {
        var header = new byte[TarReader.BlockSize];
        var span = header.AsSpan();
        entry.Name.AsSpan(0, Math.Min(entry.Name.Length, 100)).CopyTo(span);
        Octal(span.Slice(100, 8), entry.Permissions);
        Octal(span.Slice(108, 8), entry.UserId <= MostOctal7 ? entry.UserId : 0);
        Octal(span.Slice(116, 8), entry.GroupId <= MostOctal7 ? entry.GroupId : 0);
        Octal(span.Slice(124, 12), entry.Size <= MostOctal11 ? entry.Size : 0);
        Octal(span.Slice(136, 12), entry.Seconds is >= 0 and <= MostOctal11 ? entry.Seconds : 0);
        span[156] = flag;
        entry.LinkTarget.AsSpan(0, Math.Min(entry.LinkTarget.Length, 100)).CopyTo(span[157..]);
        "ustar\0"u8.CopyTo(span[257..]);
        "00"u8.CopyTo(span[263..]);
        Octal(span.Slice(329, 8), entry.DeviceMajor);
        Octal(span.Slice(337, 8), entry.DeviceMinor);
        span.Slice(148, 8).Fill((byte)' ');
        var sum = 0;
        foreach (var value in span)
            sum += value;
        Octal(span.Slice(148, 7), sum);
        return header;
    }

    private static byte[] Records(TarEntry entry)
    {
        var records = new ArrayBufferWriter<byte>(64);
        if (entry.Name.Length > 100)
            Record(records, "path"u8, entry.Name);
        if (entry.LinkTarget.Length > 100)
            Record(records, "linkpath"u8, entry.LinkTarget);
        if (entry.Size > MostOctal11)
            Record(records, "size"u8, Decimal(entry.Size));
        if (entry.UserId > MostOctal7)
            Record(records, "uid"u8, Decimal(entry.UserId));
        if (entry.GroupId > MostOctal7)
            Record(records, "gid"u8, Decimal(entry.GroupId));
        if (entry.Nanoseconds > 0 || entry.Seconds is < 0 or > MostOctal11)
            Record(records, "mtime"u8, Time(entry.Seconds, entry.Nanoseconds));
        foreach (var (name, value) in entry.Xattrs)
        {
            // A key ends at its first equals sign.
            if (name.Contains((byte)'='))
                Record(records, [.. "LIBARCHIVE.xattr."u8, .. LibarchiveXattr.EncodeName(name)], LibarchiveXattr.EncodeValue(value));
            else
                Record(records, [.. "SCHILY.xattr."u8, .. name], value);
        }
        return records.WrittenSpan.ToArray();
    }

    /// <summary>LENGTH SPACE KEY = VALUE NEWLINE, where LENGTH counts itself.</summary>
    private static void Record(ArrayBufferWriter<byte> records, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        var rest = key.Length + value.Length + 3;
        var digits = Digits(rest);
        if (Digits(rest + digits) > digits)
            digits++;
        records.Write(Decimal(rest + digits));
        records.Write(" "u8);
        records.Write(key);
        records.Write("="u8);
        records.Write(value);
        records.Write("\n"u8);
    }

    private static int Digits(int number) => number.ToString(CultureInfo.InvariantCulture).Length;

    private static byte[] Decimal(long number) => Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture));

    private static byte[] Time(long seconds, uint nanoseconds)
    {
        if (nanoseconds == 0)
            return Decimal(seconds);
        // Times before 1970 count their fraction backwards.
        var (sign, whole, fraction) = seconds < 0 ? ("-", -(seconds + 1), 1_000_000_000 - nanoseconds) : ("", seconds, nanoseconds);
        return Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{sign}{whole}.{fraction:d9}").TrimEnd('0'));
    }

    private static void Octal(Span<byte> field, long value)
    {
        for (var i = field.Length - 2; i >= 0; i--)
        {
            field[i] = (byte)('0' + (value & 7));
            value >>= 3;
        }
        field[^1] = 0;
    }

    private static byte FlagOf(TarEntryType type) => type switch
    {
        TarEntryType.Regular => (byte)'0',
        TarEntryType.HardLink => (byte)'1',
        TarEntryType.SymbolicLink => (byte)'2',
        TarEntryType.CharacterDevice => (byte)'3',
        TarEntryType.BlockDevice => (byte)'4',
        TarEntryType.Directory => (byte)'5',
        TarEntryType.Fifo => (byte)'6',
        _ => throw new ArgumentOutOfRangeException(nameof(type)),
    };
}
