using System.Buffers.Binary;

namespace Ravel.Images.Tar;

/// <summary>Numbers as tar headers write them: octal digits, or big-endian binary marked by the first bit (GNU tar, "Basic Tar Format").</summary>
internal static class TarNumbers
{
    /// <exception cref="ImageException"><c>image-invalid</c>: neither form, or beyond 64 bits.</exception>
    public static long Parse(ReadOnlySpan<byte> field, string what)
    {
        if (field.Length > 0 && (field[0] & 0x80) != 0)
            return ParseBinary(field, what);
        var digits = field.Trim(" \0"u8);
        var end = digits.IndexOf((byte)0);
        if (end >= 0)
            digits = digits[..end].TrimEnd((byte)' ');
        long value = 0;
        foreach (var digit in digits)
        {
            if (digit is < (byte)'0' or > (byte)'7' || value > long.MaxValue >> 3)
                throw TarErrors.Invalid($"a header whose {what} is not a number");
            value = (value << 3) | (uint)(digit - '0');
        }
        return value;
    }

    /// <summary>A decimal number of a PAX record: digits with an optional sign, nothing else.</summary>
    public static long ParseDecimal(ReadOnlySpan<byte> text, string what)
    {
        var negative = text is [(byte)'-', ..];
        var digits = negative ? text[1..] : text;
        if (digits.IsEmpty || digits.Length > 18)
            throw TarErrors.Invalid($"an extended header whose {what} is not a number");
        long value = 0;
        foreach (var digit in digits)
        {
            if (digit is < (byte)'0' or > (byte)'9')
                throw TarErrors.Invalid($"an extended header whose {what} is not a number");
            value = (value * 10) + (digit - '0');
        }
        return negative ? -value : value;
    }

    /// <summary>A PAX time, <c>1350244992.023960108</c>; digits beyond nanoseconds are cut off.</summary>
    public static (long Seconds, uint Nanoseconds) ParseTime(ReadOnlySpan<byte> text)
    {
        var point = text.IndexOf((byte)'.');
        if (point < 0)
            return (ParseDecimal(text, "time"), 0);
        var whole = text[..point];
        var negative = whole is [(byte)'-', ..];
        var seconds = whole.SequenceEqual("-"u8) || whole.IsEmpty ? 0 : ParseDecimal(whole, "time");
        uint nanoseconds = 0;
        var fraction = text[(point + 1)..];
        for (var i = 0; i < 9; i++)
        {
            var digit = i < fraction.Length ? fraction[i] : (byte)'0';
            if (digit is < (byte)'0' or > (byte)'9')
                throw TarErrors.Invalid("an extended header whose time is not a number");
            nanoseconds = (nanoseconds * 10) + (uint)(digit - '0');
        }
        // Times before 1970 count their fraction backwards.
        return negative && nanoseconds > 0 ? (seconds - 1, 1_000_000_000 - nanoseconds) : (seconds, nanoseconds);
    }

    private static long ParseBinary(ReadOnlySpan<byte> field, string what)
    {
        // The first byte holds the mark and the sign; all bytes before the last eight must repeat the sign.
        var negative = (field[0] & 0x40) != 0;
        var fill = negative ? (byte)0xff : (byte)0;
        Span<byte> bytes = stackalloc byte[field.Length];
        field.CopyTo(bytes);
        if (!negative)
            bytes[0] &= 0x7f;
        Span<byte> last = stackalloc byte[8];
        last.Fill(fill);
        var tail = bytes.Length > 8 ? bytes[^8..] : bytes;
        tail.CopyTo(last[(8 - tail.Length)..]);
        foreach (var value in bytes[..^tail.Length])
        {
            if (value != fill)
                throw TarErrors.Invalid($"a header whose {what} is out of range");
        }
        var number = BinaryPrimitives.ReadInt64BigEndian(last);
        if (number < 0 != negative)
            throw TarErrors.Invalid($"a header whose {what} is out of range");
        return number;
    }
}

internal static class TarErrors
{
    public static ImageException Invalid(string what) => new("image-invalid", $"a layer's archive has {what}");
}
