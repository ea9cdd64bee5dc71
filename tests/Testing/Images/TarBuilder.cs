using System.Buffers;
using System.Globalization;
using System.Text;

namespace Ravel.Testing.Images;

/// <summary>Writes tar archives byte by byte, also ones no tool would write.</summary>
public sealed class TarBuilder
{
    private readonly ArrayBufferWriter<byte> _archive = new();

    public TarBuilder File(string name, string content = "", int mode = 0x1a4 /* 0644 */, long time = 0) =>
        Entry('0', Latin1(name), content: Latin1(content), mode: mode, time: time);

    public TarBuilder Directory(string name, int mode = 0x1ed /* 0755 */, long time = 0) => Entry('5', Latin1(name), mode: mode, time: time);

    public TarBuilder SymbolicLink(string name, string target) => Entry('2', Latin1(name), link: Latin1(target));

    public TarBuilder HardLink(string name, string target) => Entry('1', Latin1(name), link: Latin1(target));

    public TarBuilder Whiteout(string name) => File(name);

    /// <summary>Any header, with its data and padding.</summary>
    /// <param name="size">What the header says; the content's length when null.</param>
    public TarBuilder Entry(
        char type, byte[] name, byte[]? link = null, byte[]? content = null, int mode = 0x1a4, long time = 0,
        long? size = null, int uid = 0, int gid = 0, int major = 0, int minor = 0)
    {
        var data = content ?? [];
        var header = new byte[512];
        name.AsSpan(0, Math.Min(name.Length, 100)).CopyTo(header);
        Octal(header.AsSpan(100, 8), mode);
        Octal(header.AsSpan(108, 8), uid);
        Octal(header.AsSpan(116, 8), gid);
        Octal(header.AsSpan(124, 12), size ?? data.Length);
        Octal(header.AsSpan(136, 12), time);
        header[156] = (byte)type;
        (link ?? []).AsSpan(0, Math.Min(link?.Length ?? 0, 100)).CopyTo(header.AsSpan(157));
        "ustar\0"u8.CopyTo(header.AsSpan(257));
        "00"u8.CopyTo(header.AsSpan(263));
        Octal(header.AsSpan(329, 8), major);
        Octal(header.AsSpan(337, 8), minor);
        Seal(header);
        _archive.Write(header);
        return Data(data);
    }

    /// <summary>An extended header for the next entry.</summary>
    public TarBuilder Pax(params (string Key, string Value)[] records)
    {
        var data = new MemoryStream();
        foreach (var (key, value) in records)
            data.Write(PaxRecord(Latin1(key), Latin1(value)));
        return Entry('x', "pax"u8.ToArray(), content: data.ToArray());
    }

    /// <summary>Bytes as they are.</summary>
    public TarBuilder Raw(params byte[] bytes)
    {
        _archive.Write(bytes);
        return this;
    }

    /// <summary>The archive with its two zero blocks.</summary>
    public byte[] ToArray() => [.. _archive.WrittenSpan, .. new byte[1024]];

    /// <summary>The archive without an end.</summary>
    public byte[] WithoutEnd() => _archive.WrittenSpan.ToArray();

    public static byte[] PaxRecord(byte[] key, byte[] value)
    {
        // The length counts its own digits.
        var rest = key.Length + value.Length + 3;
        var length = rest + rest.ToString(CultureInfo.InvariantCulture).Length;
        if (length.ToString(CultureInfo.InvariantCulture).Length != rest.ToString(CultureInfo.InvariantCulture).Length)
            length = rest + length.ToString(CultureInfo.InvariantCulture).Length;
        return [.. Latin1($"{length} "), .. key, (byte)'=', .. value, (byte)'\n'];
    }

    /// <summary>Fills in a header's checksum.</summary>
    public static void Seal(byte[] header)
    {
        header.AsSpan(148, 8).Fill((byte)' ');
        var sum = header.Sum(value => value);
        Octal(header.AsSpan(148, 7), sum);
    }

    public static byte[] Latin1(string text) => Encoding.Latin1.GetBytes(text);

    private TarBuilder Data(byte[] data)
    {
        _archive.Write(data);
        _archive.Write(new byte[-data.Length & 511]);
        return this;
    }

    private static void Octal(Span<byte> field, long value)
    {
        var digits = Convert.ToString(value, 8).PadLeft(field.Length - 1, '0');
        Latin1(digits).AsSpan(0, Math.Min(digits.Length, field.Length)).CopyTo(field);
    }
}
