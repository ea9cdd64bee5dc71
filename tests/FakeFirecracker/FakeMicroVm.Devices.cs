namespace Ravel.FakeFirecracker;

internal sealed partial class FakeMicroVm
{
    /// <summary>Opens a drive as Firecracker does, with the rights of the user it runs as.</summary>
    private static void CheckRights(string path, bool isReadOnly)
    {
        try
        {
            File.OpenHandle(path, FileMode.Open, isReadOnly ? FileAccess.Read : FileAccess.ReadWrite, FileShare.ReadWrite).Dispose();
        }
        catch (UnauthorizedAccessException)
        {
            throw new FaultException($"Drive config error: Unable to open the backing file: Permission denied (os error 13) {path}");
        }
    }

    /// <summary>As root Firecracker makes a tap that is missing; a jailed one has not the right.</summary>
    private void CheckTap(string tap)
    {
        // Of the network namespace it runs in; /sys shows that of whoever mounted it.
        if (_isJailed && !File.ReadLines("/proc/self/net/dev").Any(line => line.TrimStart().StartsWith(tap + ":", StringComparison.Ordinal)))
            throw new FaultException($"Network config error: Open tap device failed: Operation not permitted (os error 1), {tap}");
    }

    private object Statistics()
    {
        if (_balloon is null || (int?)_balloon["stats_polling_interval_s"] is null or 0)
            throw new FaultException("Internal VMM error: Balloon statistics are not enabled");
        var mib = (int)_balloon["amount_mib"]!;
        return new { target_pages = mib * 256, actual_pages = mib * 256, target_mib = mib, actual_mib = mib, available_memory = 64L << 20 };
    }

    /// <summary>What was counted since the line before; each of these is the same.</summary>
    private void WriteMetrics()
    {
        if (_metrics is null)
            return;
        using var stream = new FileStream(_metrics, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        stream.Write("""{"utc_timestamp_ms":1,"block":{"read_bytes":4096,"write_bytes":512,"read_count":8,"write_count":1},"net":{"rx_bytes_count":64,"tx_bytes_count":32}}"""u8);
        stream.Write("\n"u8);
    }
}
