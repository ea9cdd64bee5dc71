using System.Buffers.Text;
using System.Globalization;
using System.Text;

namespace Ravel.Images.Tar;

/// <summary>
/// An extended attribute as bsdtar writes it: the name in percent-encoding, the value in base64 without padding (libarchive,
/// tar(5), "LIBARCHIVE.xattr").
/// </summary>
internal static class LibarchiveXattr
{
    public static byte[] Name(ReadOnlySpan<byte> encoded)
    {
        var name = new List<byte>(encoded.Length);
        for (var i = 0; i < encoded.Length; i++)
        {
            // What is not an escape stands for itself, as libarchive reads it.
            if (encoded[i] == '%' && i + 2 < encoded.Length
                && byte.TryParse(encoded[(i + 1)..(i + 3)], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
            {
                name.Add(value);
                i += 2;
            }
            else
            {
                name.Add(encoded[i]);
            }
        }
        return [.. name];
    }

    public static byte[] EncodeName(ReadOnlySpan<byte> name)
    {
        var encoded = new List<byte>(name.Length + 2);
        foreach (var value in name)
        {
            if (value is (byte)'%' or (byte)'=')
                encoded.AddRange(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"%{value:X2}")));
            else
                encoded.Add(value);
        }
        return [.. encoded];
    }

    public static byte[] EncodeValue(ReadOnlySpan<byte> value) => Encoding.ASCII.GetBytes(Convert.ToBase64String(value).TrimEnd('='));

    /// <exception cref="ImageException"><c>image-invalid</c>: not base64.</exception>
    public static byte[] Value(ReadOnlySpan<byte> encoded)
    {
        var text = encoded.TrimEnd((byte)'=');
        byte[] padded = [.. text, .. "==="u8[..(-text.Length & 3)]];
        var value = new byte[Base64.GetMaxDecodedFromUtf8Length(padded.Length)];
        if (Base64.DecodeFromUtf8(padded, value, out _, out var written) != System.Buffers.OperationStatus.Done)
            throw TarErrors.Invalid("an extended attribute that is not base64");
        return value[..written];
    }
}
