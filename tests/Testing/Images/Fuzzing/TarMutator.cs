using System.Globalization;
using System.Text;

namespace Ravel.Testing.Images.Fuzzing;

/// <summary>
/// Changes tar archives by their records: fields, extended headers, order, sizes. Checksums are made right again, or nothing
/// behind them would ever be reached.
/// </summary>
internal static class TarMutator
{
    private const int Block = 512;

    private static readonly (int Offset, int Length)[] Fields =
    [
        (0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (329, 8), (337, 8), (345, 155),
        (386, 12), (398, 12), (410, 12), (482, 1), (483, 12),
    ];

    private static readonly string[] Names =
    [
        "a", "b", "d/", "d/e", "d/e/f", "s", "s/x", "h", ".", "./", "..", "/", "../x", "/etc/passwd", "a/../../b", "d/.wh.e", "d/.wh..wh..opq", ".wh.",
        ".wh..", ".wh.a", ".wh..wh..opq", "s/.wh..wh..opq", "s/.wh.x", "d//e", "././d", "\u00ff\u00fe", "\u001b[31m\n", "a\0b", "d/e/../..", "",
    ];

    private static readonly string[] PaxKeys =
    [
        "path", "linkpath", "size", "uid", "gid", "mtime", "SCHILY.xattr.user.a", "SCHILY.xattr.user.", "SCHILY.xattr.", "SCHILY.xattr.security.capability",
        "SCHILY.xattr.system.posix_acl_access", "SCHILY.xattr.trusted.overlay.opaque", "GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize",
        "GNU.sparse.size", "GNU.sparse.map", "GNU.sparse.numblocks", "GNU.sparse.offset", "GNU.sparse.numbytes", "comment", "hdrcharset", "atime", "",
    ];

    private static readonly string[] Values =
    [
        "", "0", "1", "-1", "512", "18446744073709551616", "9223372036854775807", "999999999999999999", "4294967294", "4294967295", "4294967296", "1.5", "-1.5", "-.5", ".", "1.0000000001",
        "0,1", "0,0", "0,4,8,4", "5,3,1,2", "1", "x", "1,", "a=b", "\0", "\n", "\u00ff",
    ];

    private static readonly string[] Types = ["0", "1", "2", "3", "4", "5", "6", "7", "x", "g", "L", "K", "S", "X", "V", "\0"];

    public static byte[] Mutate(Random random, byte[] input, IReadOnlyList<byte[]> pool)
    {
        if (random.Next(16) == 0)
            return ByteMutator.Mutate(random, input, pool, []);
        var records = Split(input);
        for (var changes = 1 << random.Next(4); changes > 0; changes--)
            Change(random, records, pool);
        if (random.Next(12) == 0 && records.Count > 0)
        {
            // A cut anywhere, after the checksums were made right.
            var whole = Join(records);
            return whole[..random.Next(whole.Length + 1)];
        }
        return Join(records);
    }

    private static void Change(Random random, List<Record> records, IReadOnlyList<byte[]> pool)
    {
        if (records.Count == 0)
        {
            records.Add(NewRecord(random));
            return;
        }
        var at = random.Next(records.Count);
        var record = records[at];
        switch (random.Next(12))
        {
            case 0 or 1 or 2:
                records[at] = record with { Header = ChangeField(random, record.Header) };
                break;
            case 3:
                records.RemoveAt(at);
                break;
            case 4:
                records.Insert(random.Next(records.Count + 1), record);
                break;
            case 5:
                var to = random.Next(records.Count);
                (records[at], records[to]) = (records[to], records[at]);
                break;
            case 6:
                var other = Split(ByteMutator.Pick(random, pool));
                if (other.Count > 0)
                    records.Insert(at, ByteMutator.Pick(random, other));
                break;
            case 7:
                records.Insert(at, NewRecord(random));
                break;
            case 8 or 9:
                records.Insert(at, PaxHeader(random));
                break;
            case 10:
                // Data that no longer is as long as its header says.
                records[at] = record with { Data = ByteMutator.Mutate(random, record.Data, [record.Data, .. pool], []) };
                break;
            default:
                var data = ByteMutator.Mutate(random, record.Data, [record.Data], []);
                var header = record.Header.ToArray();
                Encoding.Latin1.GetBytes(Octal(data.Length, 12)).CopyTo(header, 124);
                records[at] = new Record(header, data);
                break;
        }
    }

    private static byte[] ChangeField(Random random, byte[] header)
    {
        var changed = header.ToArray();
        var (offset, length) = ByteMutator.Pick(random, Fields);
        var value = random.Next(6) switch
        {
            0 => Encoding.Latin1.GetBytes(Octal(ByteMutator.Edge(random), length)),
            1 => Binary(ByteMutator.Edge(random), length),
            2 => Encoding.Latin1.GetBytes(ByteMutator.Pick(random, Names)),
            3 => [(byte)random.Next(256)],
            4 => Enumerable.Repeat((byte)ByteMutator.Pick(random, (int[])['7', 'a', ' ', 0, 255, '/']), length).ToArray(),
            _ => Encoding.Latin1.GetBytes(ByteMutator.Pick(random, offset == 156 ? Types : Names)),
        };
        if (offset == 156)
            value = Encoding.Latin1.GetBytes(ByteMutator.Pick(random, Types));
        changed.AsSpan(offset, length).Clear();
        value.AsSpan(0, Math.Min(value.Length, length)).CopyTo(changed.AsSpan(offset));
        return changed;
    }

    private static Record NewRecord(Random random)
    {
        var type = ByteMutator.Pick(random, Types)[0];
        var archive = new TarBuilder().Entry(
            type,
            Encoding.Latin1.GetBytes(ByteMutator.Pick(random, Names)),
            Encoding.Latin1.GetBytes(ByteMutator.Pick(random, Names)),
            new byte[random.Next(3) == 0 ? random.Next(9000) : 0],
            major: random.Next(300), minor: random.Next(300)).WithoutEnd();
        return Split(archive)[0];
    }

    private static Record PaxHeader(Random random)
    {
        var data = new List<byte>();
        for (var count = random.Next(1, 5); count > 0; count--)
        {
            var key = Encoding.Latin1.GetBytes(ByteMutator.Pick(random, PaxKeys));
            var text = random.Next(3) switch
            {
                0 => ByteMutator.Edge(random).ToString(CultureInfo.InvariantCulture),
                1 => ByteMutator.Pick(random, Names),
                _ => ByteMutator.Pick(random, Values),
            };
            if (random.Next(20) == 0)
                text = new string('v', random.Next(70_000));
            data.AddRange(TarBuilder.PaxRecord(key, Encoding.Latin1.GetBytes(text)));
        }
        if (random.Next(8) == 0)
            data[random.Next(data.Count)] ^= (byte)(1 << random.Next(8));
        return Split(new TarBuilder().Entry(random.Next(10) == 0 ? 'g' : 'x', "pax"u8.ToArray(), content: [.. data]).WithoutEnd())[0];
    }

    /// <summary>A field's digits, as many as fit; a NUL ends them.</summary>
    private static string Octal(long value, int length)
    {
        var digits = Convert.ToString(value, 8);
        return digits.Length < length ? digits.PadLeft(length - 1, '0') : digits[^length..];
    }

    private static byte[] Binary(long value, int length)
    {
        var bytes = new byte[length];
        for (var i = length - 1; i >= 0; i--, value >>= 8)
            bytes[i] = (byte)value;
        bytes[0] |= 0x80;
        return bytes;
    }

    private static List<Record> Split(byte[] archive)
    {
        var records = new List<Record>();
        for (var at = 0; at + Block <= archive.Length;)
        {
            var header = archive.AsSpan(at, Block).ToArray();
            at += Block;
            if (!header.AsSpan().ContainsAnyExcept((byte)0))
                continue;
            long size = 0;
            foreach (var digit in header.AsSpan(124, 11))
                size = digit is >= (byte)'0' and <= (byte)'7' ? (size << 3) + (digit - '0') : size;
            var length = (int)Math.Clamp(size, 0, archive.Length - at);
            records.Add(new Record(header, archive.AsSpan(at, length).ToArray()));
            at += Math.Min((length + Block - 1) & -Block, archive.Length - at);
        }
        return records;
    }

    private static byte[] Join(List<Record> records)
    {
        var archive = new MemoryStream();
        foreach (var (header, data) in records)
        {
            TarBuilder.Seal(header);
            archive.Write(header);
            archive.Write(data);
            archive.Write(new byte[-data.Length & (Block - 1)]);
        }
        archive.Write(new byte[2 * Block]);
        return archive.ToArray();
    }

    private sealed record Record(byte[] Header, byte[] Data);
}
