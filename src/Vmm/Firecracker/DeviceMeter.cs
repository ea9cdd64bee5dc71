using System.Text.Json;
using Ravel.Linux.Processes;

namespace Ravel.Vmm.Firecracker;

/// <summary>
/// Adds up Firecracker's metrics. It writes a line of JSON once a minute and when asked, each with what was counted since the one before, into
/// a bounded pipe (<see cref="OutputPipe"/>): nothing grows, and while nobody reads for more than some minutes, counts are lost. The sum
/// is kept in the run directory for whoever adopts the VM.
/// </summary>
internal sealed class DeviceMeter : IDisposable
{
    public const string SumFile = "usage.json";

    /// <summary>Longer than any line Firecracker writes, and as long as the pipe.</summary>
    private const int MaxLine = OutputPipe.Capacity;

    private readonly Lock _gate = new();
    private readonly string _runDirectory;
    private readonly List<byte> _line = [];
    private readonly OutputPipe? _pipe;
    private bool _isTooLong;
    private DiskUsage _sum;

    private DeviceMeter(string pipe, string runDirectory, bool isNew)
    {
        _runDirectory = runDirectory;
        _sum = isNew ? new DiskUsage(0, 0, 0, 0) : ReadSum(Path.Combine(runDirectory, SumFile));
        _pipe = isNew ? OutputPipe.Create(pipe, Take) : OutputPipe.Open(pipe, Take);
    }

    /// <summary>Makes the pipe a VM will write into.</summary>
    public static DeviceMeter Create(string pipe, string runDirectory) => new(pipe, runDirectory, isNew: true);

    /// <summary>Goes on where another raveld stopped.</summary>
    public static DeviceMeter Open(string pipe, string runDirectory) => new(pipe, runDirectory, isNew: false);

    /// <summary>The sum of all that has been written until now.</summary>
    public DiskUsage Read()
    {
        // Drains the pipe through Take.
        _ = _pipe?.ReadTail();
        DiskUsage sum;
        lock (_gate)
            sum = _sum;
        // After a purge nothing is written any more.
        if (!File.Exists(Path.Combine(_runDirectory, LaunchedVm.FileName)))
            return sum;
        var file = Path.Combine(_runDirectory, SumFile);
        try
        {
            File.WriteAllBytes(file + ".tmp", JsonSerializer.SerializeToUtf8Bytes(sum, FirecrackerJson.Default.DiskUsage));
            File.Move(file + ".tmp", file, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A run directory that is gone or full costs whoever adopts the VM the figures of the past.
        }
        return sum;
    }

    public void Dispose()
    {
        _ = Read();
        _pipe?.Dispose();
    }

    /// <summary>Adds a line to a sum. What is no metrics, or negative, counts nothing.</summary>
    internal static DiskUsage Add(DiskUsage sum, ReadOnlySpan<byte> line)
    {
        try
        {
            var metrics = JsonSerializer.Deserialize(line, FirecrackerJson.Default.MetricsLine);
            return new DiskUsage(
                Plus(sum.ReadBytes, metrics?.Block?.ReadBytes),
                Plus(sum.WrittenBytes, metrics?.Block?.WriteBytes),
                Plus(sum.Reads, metrics?.Block?.ReadCount),
                Plus(sum.Writes, metrics?.Block?.WriteCount));
        }
        catch (JsonException)
        {
            return sum;
        }

        static long Plus(long sum, long? more) => more is > 0 and var add ? sum > long.MaxValue - add ? long.MaxValue : sum + add : sum;
    }

    private void Take(ReadOnlySpan<byte> bytes)
    {
        lock (_gate)
        {
            while (bytes.IndexOf((byte)'\n') is >= 0 and var end)
            {
                Append(bytes[..end]);
                if (!_isTooLong)
                    _sum = Add(_sum, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_line));
                _line.Clear();
                _isTooLong = false;
                bytes = bytes[(end + 1)..];
            }
            Append(bytes);
        }
    }

    private void Append(ReadOnlySpan<byte> bytes)
    {
        _isTooLong |= _line.Count + bytes.Length > MaxLine;
        if (!_isTooLong)
            _line.AddRange(bytes);
    }

    private static DiskUsage ReadSum(string file)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(file), FirecrackerJson.Default.DiskUsage) ?? new DiskUsage(0, 0, 0, 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return new DiskUsage(0, 0, 0, 0);
        }
    }
}
