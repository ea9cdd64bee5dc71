using Ravel.Images.Layers;

namespace Ravel.Images.Tar;

/// <summary>
/// Reads a tar archive entry by entry, in one pass, trusting nothing: ustar, GNU (long names, sparse files, binary
/// numbers) and PAX (names, sizes, times, owners, extended attributes, sparse 0.0, 0.1 and 1.0). Sources: POSIX.1-2017
/// pax; the GNU tar manual, "Basic Tar Format", "GNU Extensions" and "Storing Sparse Files".
/// </summary>
/// <remarks>Where writers differ, it reads what Go's archive/tar reads, which layer tools use.</remarks>
internal sealed partial class TarReader
{
    public const int BlockSize = 512;

    /// <summary>A name or extended header that describes an entry; what is longer describes none.</summary>
    public const int MaxHeaderData = 1024 * 1024;

    private readonly ByteSource _source;
    private readonly byte[] _header = new byte[BlockSize];
    private long _dataLeft;
    private int _padding;

    public TarReader(ByteSource source) => _source = source;

    /// <summary>Bytes of the current entry's data that were not read yet; for a sparse file, of its stored data.</summary>
    public long DataLeft => _dataLeft;

    /// <summary>Skips what is left of the current entry and reads the next one; null at the archive's end.</summary>
    /// <exception cref="ImageException"><c>image-invalid</c>: the archive is damaged, cut off or over a limit.</exception>
    public TarEntry? Next()
    {
        PaxRecords? pax = null;
        byte[]? longName = null;
        byte[]? longLink = null;
        for (var extensions = 0; ; extensions++)
        {
            if (extensions > 8)
                throw TarErrors.Invalid("more than 8 extension headers for one entry");
            SkipData();
            if (!ReadHeader())
            {
                if (pax is not null || longName is not null || longLink is not null)
                    throw TarErrors.Invalid("an extension header without an entry");
                return null;
            }
            switch (_header[156])
            {
                case (byte)'x' or (byte)'X':
                    pax = PaxRecords.Parse(ReadHeaderData());
                    continue;
                case (byte)'g':
                    // Defaults for entries to come: nobody writes them into layers but as a comment. Checked for form only.
                    PaxRecords.Parse(ReadHeaderData());
                    extensions--;
                    continue;
                case (byte)'L':
                    longName = CutAtNul(ReadHeaderData());
                    continue;
                case (byte)'K':
                    longLink = CutAtNul(ReadHeaderData());
                    continue;
                default:
                    return ReadEntry(pax, longName, longLink);
            }
        }
    }

    /// <summary>The next bytes of the current entry's data, at most <paramref name="most"/>; empty at its end.</summary>
    public ReadOnlySpan<byte> ReadData(long most = long.MaxValue)
    {
        if (_dataLeft == 0)
            return default;
        var bytes = _source.Read(Math.Min(most, _dataLeft));
        if (bytes.IsEmpty)
            throw CutOff();
        _dataLeft -= bytes.Length;
        return bytes;
    }

    private void SkipData()
    {
        if (!_source.Skip(_dataLeft))
            throw CutOff();
        // Padding may be missing behind the very last entry: umoci insert leaves it out.
        _source.Skip(_padding);
        _dataLeft = 0;
        _padding = 0;
    }

    /// <summary>Reads the next header block and checks its sum; false at the end of the archive.</summary>
    private bool ReadHeader()
    {
        var read = _source.ReadFully(_header);
        if (read == 0)
            return false;
        if (read < BlockSize)
            throw CutOff();
        if (!_header.AsSpan().ContainsAnyExcept((byte)0))
        {
            // Two zero blocks end an archive; one at its very end does too.
            read = _source.ReadFully(_header);
            if (read == 0 || (read == BlockSize && !_header.AsSpan().ContainsAnyExcept((byte)0)))
                return false;
            throw TarErrors.Invalid("a zero block between entries");
        }
        var stated = TarNumbers.Parse(_header.AsSpan(148, 8), "checksum");
        long unsigned = 8 * ' ';
        long signed = 8 * ' ';
        for (var i = 0; i < BlockSize; i++)
        {
            if (i is >= 148 and < 156)
                continue;
            unsigned += _header[i];
            signed += (sbyte)_header[i];
        }
        if (stated != unsigned && stated != signed)
            throw TarErrors.Invalid("a header whose checksum is wrong");
        return true;
    }

    private byte[] ReadHeaderData()
    {
        var size = TarNumbers.Parse(_header.AsSpan(124, 12), "size");
        if (size is < 0 or > MaxHeaderData)
            throw TarErrors.Invalid($"an extension header of {size} bytes; at most {MaxHeaderData} describe an entry");
        var data = new byte[size];
        if (_source.ReadFully(data) < size)
            throw CutOff();
        _padding = PaddingOf(size);
        return data;
    }

    private static int PaddingOf(long size) => (int)(-size & (BlockSize - 1));

    private static ReadOnlySpan<byte> CutAtNul(ReadOnlySpan<byte> field)
    {
        var end = field.IndexOf((byte)0);
        return end < 0 ? field : field[..end];
    }

    private static byte[] CutAtNul(byte[] field) => CutAtNul(field.AsSpan()).ToArray();

    private static ImageException CutOff() => TarErrors.Invalid("an end before its last entry is complete");
}
