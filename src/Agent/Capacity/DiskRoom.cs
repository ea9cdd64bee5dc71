using Ravel.Linux.Files;

namespace Ravel.Agent.Capacity;

/// <summary>
/// What of the file system of the data directory may be promised to machines: what is free, and what their files take already, without the
/// reserve. Whatever else is there (images, kernels, the host's own) has its room, because it is not free; what else comes takes from what is left.
/// </summary>
internal sealed class DiskRoom
{
    private const long Mebibyte = 1024 * 1024;

    /// <summary>
    /// The files are looked at no more often. What they grew by meanwhile counts as taken by others, and is refused rather than
    /// promised twice; what went is promised twice until the next look, out of the reserve.
    /// </summary>
    private static readonly TimeSpan Freshness = TimeSpan.FromSeconds(2);

    private readonly DriveInfo _drive;
    private readonly IReadOnlyList<string> _owned;
    private readonly CapacityOptions _options;
    private readonly TimeProvider _time;
    private readonly Lock _lock = new();
    private long? _measuredAt;
    private long _ownedMib;

    /// <param name="dataDirectory">On the file system in question.</param>
    /// <param name="owned">Directories whose files belong to what is promised: disks, volumes, saved memory, logs.</param>
    /// <param name="options">How much of it may be promised.</param>
    /// <param name="time">Tells when to look again.</param>
    public DiskRoom(string dataDirectory, IReadOnlyList<string> owned, CapacityOptions options, TimeProvider time)
    {
        _drive = new DriveInfo(dataDirectory);
        _owned = owned;
        _options = options;
        _time = time;
        ReserveMib = options.ReservedDiskMib ?? DefaultReserveMib(_drive.TotalSize / Mebibyte);
    }

    /// <summary>Kept free for journal, database and whatever was not foreseen.</summary>
    public long ReserveMib { get; }

    /// <summary>All that may be promised, with what is promised already.</summary>
    public long TotalMib() => TotalMib(_drive.AvailableFreeSpace / Mebibyte, OwnedMib(), ReserveMib, _options.DiskOvercommit);

    /// <summary>What may still come without taking from what machines were promised.</summary>
    /// <param name="promisedMib">Of <see cref="TotalMib()"/>.</param>
    public long LeftMib(long promisedMib) => (long)((TotalMib() - promisedMib) / _options.DiskOvercommit);

    internal static long TotalMib(long freeMib, long ownedMib, long reserveMib, double overcommit) =>
        (long)(Math.Max(0, freeMib + ownedMib - reserveMib) * overcommit);

    /// <summary>Enough for journal and database at their largest; on a small disk no more than a twentieth.</summary>
    internal static long DefaultReserveMib(long sizeMib) => Math.Min(1024, sizeMib / 20);

    private long OwnedMib()
    {
        lock (_lock)
        {
            if (_measuredAt is not { } at || _time.GetElapsedTime(at) >= Freshness)
            {
                _ownedMib = _owned.Sum(AllocatedIn) / Mebibyte;
                _measuredAt = _time.GetTimestamp();
            }
            return _ownedMib;
        }
    }

    private static long AllocatedIn(string directory)
    {
        try
        {
            return Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories).Sum(path => FileBlocks.UsageOf(path)?.Allocated ?? 0);
        }
        catch (DirectoryNotFoundException)
        {
            // Not made yet, or one below it went just now: its files are as good as gone.
            return 0;
        }
    }
}
