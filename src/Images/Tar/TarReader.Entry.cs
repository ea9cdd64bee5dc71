namespace Ravel.Images.Tar;

/// <summary>From a header block and its extensions to an entry.</summary>
internal sealed partial class TarReader
{
    private TarEntry ReadEntry(PaxRecords? pax, byte[]? longName, byte[]? longLink)
    {
        var size = pax?["size"] is { } paxSize
            ? TarNumbers.ParseDecimal(paxSize, "size")
            : TarNumbers.Parse(_header.AsSpan(124, 12), "size");
        if (size < 0)
            throw TarErrors.Invalid("an entry of negative size");

        var flag = _header[156];
        var name = longName ?? pax?["path"] ?? HeaderName();
        var isSparse = false;
        if (pax?["GNU.sparse.name"] is { } sparseName)
            name = sparseName;
        var type = flag switch
        {
            // Before ustar, a name's last slash was all that told a directory.
            0 when name is [.., (byte)'/'] => TarEntryType.Directory,
            0 or (byte)'0' or (byte)'7' => TarEntryType.Regular,
            (byte)'1' => TarEntryType.HardLink,
            (byte)'2' => TarEntryType.SymbolicLink,
            (byte)'3' => TarEntryType.CharacterDevice,
            (byte)'4' => TarEntryType.BlockDevice,
            (byte)'5' => TarEntryType.Directory,
            (byte)'6' => TarEntryType.Fifo,
            (byte)'S' => TarEntryType.Regular,
            _ => throw TarErrors.Invalid($"an entry of unknown type 0x{flag:x2}"),
        };

        // Only regular files have data, whatever the header says; writers disagree on the size of links.
        _dataLeft = type == TarEntryType.Regular ? size : 0;
        _padding = PaddingOf(_dataLeft);

        IReadOnlyList<SparseExtent>? extents = null;
        if (type == TarEntryType.Regular)
        {
            (extents, var realSize) = flag == (byte)'S' ? ReadGnuSparse() : ReadPaxSparse(pax);
            isSparse = extents is not null;
            if (isSparse)
            {
                SparseMap.Validate(extents!, realSize, _dataLeft);
                size = realSize;
            }
        }

        var (seconds, nanoseconds) = pax?["mtime"] is { } time
            ? TarNumbers.ParseTime(time)
            : (TarNumbers.Parse(_header.AsSpan(136, 12), "time"), 0u);
        return new TarEntry
        {
            Type = type,
            Name = name,
            LinkTarget = type is TarEntryType.HardLink or TarEntryType.SymbolicLink
                ? longLink ?? pax?["linkpath"] ?? CutAtNul(_header.AsSpan(157, 100)).ToArray()
                : [],
            Permissions = (ushort)(TarNumbers.Parse(_header.AsSpan(100, 8), "mode") & 0xfff),
            UserId = Id(pax?["uid"], _header.AsSpan(108, 8), "user id"),
            GroupId = Id(pax?["gid"], _header.AsSpan(116, 8), "group id"),
            Seconds = seconds,
            Nanoseconds = nanoseconds,
            Size = type == TarEntryType.Regular ? size : 0,
            DeviceMajor = Device(type, pax?["SCHILY.devmajor"], 329, 0xfff),
            DeviceMinor = Device(type, pax?["SCHILY.devminor"], 337, 0xfffff),
            Xattrs = pax?.Xattrs ?? [],
            Extents = extents,
        };
    }

    private byte[] HeaderName()
    {
        var name = CutAtNul(_header.AsSpan(0, 100));
        // "ustar\0": POSIX, with a prefix; GNU writes "ustar " and uses that room for other things.
        if (!_header.AsSpan(257, 6).SequenceEqual("ustar\0"u8))
            return name.ToArray();
        var isStar = _header.AsSpan(508, 4).SequenceEqual("tar\0"u8);
        var prefix = CutAtNul(_header.AsSpan(345, isStar ? 131 : 155));
        return prefix.IsEmpty ? name.ToArray() : [.. prefix, (byte)'/', .. name];
    }

    private static uint Id(byte[]? pax, ReadOnlySpan<byte> field, string what)
    {
        var id = pax is not null ? TarNumbers.ParseDecimal(pax, what) : TarNumbers.Parse(field, what);
        // The last number means "no change" to chown(2), so no file has it.
        if (id is < 0 or >= uint.MaxValue)
            throw TarErrors.Invalid($"an entry with the {what} {id}");
        return (uint)id;
    }

    private uint Device(TarEntryType type, byte[]? pax, int offset, uint most)
    {
        if (type is not (TarEntryType.CharacterDevice or TarEntryType.BlockDevice))
            return 0;
        // bsdtar's record for a number that is longer than the header's field.
        var number = pax is not null
            ? TarNumbers.ParseDecimal(pax, "device number")
            : TarNumbers.Parse(_header.AsSpan(offset, 8), "device number");
        if (number < 0 || number > most)
            throw TarErrors.Invalid($"a device with the number {number}");
        return (uint)number;
    }

    /// <summary>Old GNU format: four extents in the header, further ones in blocks behind it.</summary>
    private (IReadOnlyList<SparseExtent> Extents, long RealSize) ReadGnuSparse()
    {
        var extents = new List<SparseExtent>();
        var realSize = TarNumbers.Parse(_header.AsSpan(483, 12), "sparse size");
        var more = SparseMap.ReadHeaderExtents(_header.AsSpan(386, 96), extents) && _header[482] != 0;
        var block = new byte[BlockSize];
        while (more)
        {
            if (_source.ReadFully(block) < BlockSize)
                throw CutOff();
            more = SparseMap.ReadHeaderExtents(block.AsSpan(0, 504), extents) && block[504] != 0;
        }
        return (extents, realSize);
    }

    private (IReadOnlyList<SparseExtent>? Extents, long RealSize) ReadPaxSparse(PaxRecords? pax)
    {
        if (pax is null)
            return (null, 0);
        var realSizeText = pax["GNU.sparse.realsize"] ?? pax["GNU.sparse.size"];
        var isNew = pax["GNU.sparse.major"] is [(byte)'1'] && pax["GNU.sparse.minor"] is [(byte)'0'];
        if (!isNew && pax["GNU.sparse.map"] is null && pax.SparseNumbers.Count == 0)
            return (null, 0);
        if (realSizeText is null)
            throw TarErrors.Invalid("a sparse file without a size");
        var realSize = TarNumbers.ParseDecimal(realSizeText, "sparse size");
        if (isNew)
            return (ReadMapInData(), realSize);
        return (pax["GNU.sparse.map"] is { } map ? SparseMap.ParseList(map) : SparseMap.Pair(pax.SparseNumbers), realSize);
    }

    /// <summary>Sparse format 1.0: the data starts with the map as decimal lines, padded to whole blocks.</summary>
    private List<SparseExtent> ReadMapInData()
    {
        long consumed = 0;
        var line = new byte[20];
        long ReadNumber()
        {
            var length = 0;
            while (true)
            {
                var next = ReadData(1);
                if (next.IsEmpty)
                    throw CutOff();
                consumed++;
                if (next[0] == '\n')
                    return TarNumbers.ParseDecimal(line.AsSpan(0, length), "sparse map");
                if (length == line.Length)
                    throw TarErrors.Invalid("a sparse map with a number of over 20 digits");
                line[length++] = next[0];
            }
        }

        var count = ReadNumber();
        SparseMap.CheckCount(count);
        var extents = new List<SparseExtent>((int)Math.Min(count, 1024));
        for (long i = 0; i < count; i++)
            extents.Add(new SparseExtent(ReadNumber(), ReadNumber()));
        var padding = PaddingOf(consumed);
        while (padding > 0)
        {
            var step = ReadData(padding).Length;
            if (step == 0)
                throw CutOff();
            padding -= step;
        }
        return extents;
    }
}
