using System.Text;
using Ravel.Images.Erofs;

namespace Ravel.Images.Tar;

/// <summary>The records of one PAX extended header (POSIX.1-2017, pax, "pax Extended Header"): the last of a name counts.</summary>
internal sealed class PaxRecords
{
    private readonly Dictionary<string, byte[]> _values = new(StringComparer.Ordinal);
    private readonly Dictionary<byte[], byte[]> _xattrs = new(ByteArrayComparer.Instance);
    private readonly Dictionary<byte[], byte[]> _libarchiveXattrs = new(ByteArrayComparer.Instance);

    /// <summary>The records of sparse format 0.0, which repeat: offset, length, offset, length …</summary>
    public List<long> SparseNumbers { get; } = [];

    public byte[]? this[string key] => _values.TryGetValue(key, out var value) && value.Length > 0 ? value : null;

    /// <summary>Of both spellings; bsdtar writes each attribute in both.</summary>
    public IReadOnlyList<Xattr> Xattrs =>
        [.. _xattrs.Concat(_libarchiveXattrs.Where(pair => !_xattrs.ContainsKey(pair.Key))).Select(pair => new Xattr(pair.Key, pair.Value))];

    /// <exception cref="ImageException"><c>image-invalid</c>: not a sequence of records.</exception>
    public static PaxRecords Parse(ReadOnlySpan<byte> data)
    {
        var records = new PaxRecords();
        while (!data.IsEmpty)
        {
            // LENGTH SPACE KEY = VALUE NEWLINE, where LENGTH counts all of it.
            var space = data.IndexOf((byte)' ');
            if (space is < 1 or > 10)
                throw TarErrors.Invalid("an extended header without lengths");
            var length = TarNumbers.ParseDecimal(data[..space], "length");
            if (length <= space + 2 || length > data.Length || data[(int)length - 1] != '\n')
                throw TarErrors.Invalid("an extended header with a wrong length");
            var record = data[(space + 1)..((int)length - 1)];
            var equals = record.IndexOf((byte)'=');
            if (equals < 1)
                throw TarErrors.Invalid("an extended header without a key");
            records.Add(record[..equals], record[(equals + 1)..]);
            data = data[(int)length..];
        }
        return records;
    }

    private void Add(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        if (key.StartsWith("SCHILY.xattr."u8))
        {
            AddXattr(_xattrs, key["SCHILY.xattr.".Length..].ToArray(), value.ToArray());
            return;
        }
        if (key.StartsWith("LIBARCHIVE.xattr."u8))
        {
            AddXattr(_libarchiveXattrs, LibarchiveXattr.Name(key["LIBARCHIVE.xattr.".Length..]), LibarchiveXattr.Value(value));
            return;
        }
        if (key.SequenceEqual("GNU.sparse.offset"u8) || key.SequenceEqual("GNU.sparse.numbytes"u8))
        {
            var even = SparseNumbers.Count % 2 == 0;
            if (even != key.SequenceEqual("GNU.sparse.offset"u8))
                throw TarErrors.Invalid("a sparse map out of order");
            SparseNumbers.Add(TarNumbers.ParseDecimal(value, "sparse map"));
            return;
        }
        var text = Encoding.Latin1.GetString(key);
        if (text is "path" or "linkpath" or "GNU.sparse.name" && value.Contains((byte)0))
            throw TarErrors.Invalid("a name with a NUL byte");
        _values[text] = value.ToArray();
    }

    private static void AddXattr(Dictionary<byte[], byte[]> xattrs, byte[] name, byte[] value)
    {
        if (name.Length == 0 || name.Contains((byte)0))
            throw TarErrors.Invalid("an extended attribute without a proper name");
        xattrs[name] = value;
    }

    private sealed class ByteArrayComparer : IEqualityComparer<byte[]>
    {
        public static readonly ByteArrayComparer Instance = new();

        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public int GetHashCode(byte[] bytes)
        {
            var hash = default(HashCode);
            hash.AddBytes(bytes);
            return hash.ToHashCode();
        }
    }
}
