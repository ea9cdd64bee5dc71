namespace Ravel.Images.Tar;

/// <summary>Where a sparse file has data (GNU tar manual, "Storing Sparse Files").</summary>
internal static class SparseMap
{
    /// <summary>Far above what a file on disk has; bounds the memory of a map.</summary>
    private const int MaxExtents = 100_000;

    private const int ExtentSize = 24;

    /// <summary>Reads extents of 12 + 12 bytes until an empty one.</summary>
    /// <returns>False when an empty one ended the map.</returns>
    public static bool ReadHeaderExtents(ReadOnlySpan<byte> field, List<SparseExtent> extents)
    {
        for (; field.Length >= ExtentSize; field = field[ExtentSize..])
        {
            if (field[0] == 0)
                return false;
            extents.Add(new SparseExtent(
                TarNumbers.Parse(field[..12], "sparse map"), TarNumbers.Parse(field[12..24], "sparse map")));
            CheckCount(extents.Count);
        }
        return true;
    }

    /// <summary>Sparse format 0.1: <c>offset,length,offset,length…</c>.</summary>
    public static IReadOnlyList<SparseExtent> ParseList(ReadOnlySpan<byte> text)
    {
        var numbers = new List<long>();
        foreach (var range in text.Split((byte)','))
        {
            numbers.Add(TarNumbers.ParseDecimal(text[range], "sparse map"));
            CheckCount(numbers.Count / 2);
        }
        return Pair(numbers);
    }

    public static IReadOnlyList<SparseExtent> Pair(IReadOnlyList<long> numbers)
    {
        if (numbers.Count % 2 != 0)
            throw TarErrors.Invalid("a sparse map with half an extent");
        CheckCount(numbers.Count / 2);
        var extents = new List<SparseExtent>(numbers.Count / 2);
        for (var i = 0; i < numbers.Count; i += 2)
            extents.Add(new SparseExtent(numbers[i], numbers[i + 1]));
        return extents;
    }

    public static void CheckCount(long count)
    {
        if (count is < 0 or > MaxExtents)
            throw TarErrors.Invalid($"a sparse file of over {MaxExtents} extents");
    }

    /// <summary>Extents must ascend without overlap, end within the file, and add up to the stored data.</summary>
    public static void Validate(IReadOnlyList<SparseExtent> extents, long realSize, long stored)
    {
        long end = 0;
        long sum = 0;
        foreach (var (offset, length) in extents)
        {
            if (offset < end || length < 0 || length > realSize - offset)
                throw TarErrors.Invalid("a sparse map that does not fit its file");
            end = offset + length;
            sum += length;
        }
        if (realSize < 0 || sum != stored)
            throw TarErrors.Invalid("a sparse map that does not fit its data");
    }
}
