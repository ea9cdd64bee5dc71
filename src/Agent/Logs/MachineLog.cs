using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Ravel.Contracts.Ids;

namespace Ravel.Agent.Logs;

/// <summary>
/// What a machine's instances printed: numbered files of records (<see cref="LogRecord"/>) in a directory of its own. The oldest
/// file goes when a new one would be one too many. Opening cuts off a record that a crash left half written. Once removed, what was
/// in them can still be read until it is disposed of.
/// </summary>
internal sealed class MachineLog : IDisposable
{
    private const int BufferBytes = 64 * 1024;

    private readonly string _directory;
    private readonly LogOptions _options;
    private readonly Lock _lock = new();
    private TaskCompletionSource _changed = NewSignal();
    private SafeFileHandle? _file;
    private Dictionary<int, SafeFileHandle>? _removed;
    private int _segment;
    private long _length;
    private InstanceId? _instance;
    private LogOffsets _offsets;
    private long _lastNanoseconds;

    public MachineLog(string directory, LogOptions options)
    {
        _directory = directory;
        _options = options;
        Directory.CreateDirectory(directory);
        _segment = Segments().LastOrDefault();
        if (_segment == 0)
            BeginSegment();
        else
            Recover();
    }

    /// <summary>Where the guest has to go on; zero for an instance that has printed nothing yet.</summary>
    public LogOffsets OffsetsOf(InstanceId instance)
    {
        lock (_lock)
            return _instance == instance ? _offsets : default;
    }

    /// <summary>
    /// Appends output, one record a line (or part of one). When it returns, the file has it: it survives the agent, and the
    /// guest may forget it.
    /// </summary>
    /// <param name="instance">Who printed it; instances follow each other.</param>
    /// <param name="stream">Where.</param>
    /// <param name="data">Whole lines, or what there is of one.</param>
    /// <param name="begin">Offset of its first byte in the guest's stream.</param>
    /// <param name="nanoseconds">
    /// When it arrived, since the Unix epoch. No two records of a log have the same time: one that would is a nanosecond later, so that
    /// a reader who breaks off goes on behind the last one it has seen.
    /// </param>
    /// <exception cref="IOException">The disk is full or broken; <see cref="OffsetsOf"/> says how much was appended before.</exception>
    public void Append(InstanceId instance, LogStream stream, ReadOnlyMemory<byte> data, ulong begin, long nanoseconds)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            lock (_lock)
                Append(instance, stream, data, begin, nanoseconds, buffer);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
        Poke();
    }

    /// <summary>A remark of the agent's own, one line.</summary>
    public void AppendSystem(InstanceId instance, string text, long nanoseconds) =>
        Append(instance, LogStream.System, Encoding.UTF8.GetBytes(text + "\n"), 0, nanoseconds);

    /// <summary>Lets followers look again, at the log and at whether it is over.</summary>
    public void Poke()
    {
        TaskCompletionSource changed;
        lock (_lock)
            (changed, _changed) = (_changed, NewSignal());
        changed.SetResult();
    }

    /// <summary>The records kept, oldest first.</summary>
    /// <param name="query">Which.</param>
    /// <param name="isOver">When following: whether nothing more will come.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async IAsyncEnumerable<LogRecord> ReadAsync(
        LogQuery query, Func<bool> isOver, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var skip = query.Tail is { } tail ? CountLines(query, cancellationToken) - tail : 0;
        var segment = 0;
        LogSegmentReader? reader = null;
        try
        {
            while (true)
            {
                // Taken before looking, so that what comes in between is not missed.
                Task changed;
                bool over;
                lock (_lock)
                    changed = _changed.Task;
                over = !query.Follow || isOver();
                while (TryNext(ref reader, ref segment, out var record))
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    if (!query.Matches(record))
                        continue;
                    if (skip > 0)
                    {
                        if (record.EndsLine)
                            skip--;
                        continue;
                    }
                    yield return record;
                }
                if (over)
                    yield break;
                await changed.WaitAsync(cancellationToken);
            }
        }
        finally
        {
            reader?.Dispose();
        }
    }

    /// <summary>Takes the files off the disk; their space is given back once this is disposed of and nobody reads on.</summary>
    public void Remove()
    {
        lock (_lock)
        {
            _removed ??= Segments().ToDictionary(
                segment => segment, segment => File.OpenHandle(PathOf(segment), share: FileShare.ReadWrite | FileShare.Delete));
            Directory.Delete(_directory, recursive: true);
        }
        Poke();
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _file?.Dispose();
            foreach (var file in _removed?.Values ?? Enumerable.Empty<SafeFileHandle>())
                file.Dispose();
            _removed?.Clear();
        }
        Poke();
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static string NameOf(int segment) => segment.ToString("D8", CultureInfo.InvariantCulture) + ".log";

    /// <summary>A file without a name any more is opened anew by its descriptor (proc_pid_fd(5)).</summary>
    private string PathOf(int segment) => _removed is { } removed
        ? $"/proc/self/fd/{removed[segment].DangerousGetHandle()}"
        : Path.Combine(_directory, NameOf(segment));

    /// <summary>Numbers of the files there are, in order; from 1.</summary>
    private List<int> Segments() => _removed is { } removed
        ? [.. removed.Keys.Order()]
        : [.. Directory.EnumerateFiles(_directory, "*.log")
            .Select(path => int.TryParse(Path.GetFileNameWithoutExtension(path), NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : 0)
            .Where(n => n > 0)
            .Order()];

    private long CountLines(LogQuery query, CancellationToken cancellationToken)
    {
        long lines = 0;
        var endsLine = true;
        var segment = 0;
        LogSegmentReader? reader = null;
        try
        {
            while (TryNext(ref reader, ref segment, out var record))
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (!query.Matches(record))
                    continue;
                endsLine = record.EndsLine;
                if (endsLine)
                    lines++;
            }
        }
        finally
        {
            reader?.Dispose();
        }
        return endsLine ? lines : lines + 1;
    }

    private bool TryNext(ref LogSegmentReader? reader, ref int segment, out LogRecord record)
    {
        while (true)
        {
            int newest;
            long length;
            lock (_lock)
                (newest, length) = (_segment, _length);
            if (reader is not null && reader.TryRead(segment == newest ? length : long.MaxValue, out record))
                return true;
            record = default;
            if (reader is not null && segment == newest)
                return false;
            // This file is finished: go on with the oldest later one there is, which is not to go meanwhile.
            lock (_lock)
            {
                var current = segment;
                var next = Segments().FirstOrDefault(n => n > current);
                if (next == 0)
                    return false;
                reader?.Dispose();
                reader = null;
                reader = new LogSegmentReader(PathOf(next));
                segment = next;
            }
        }
    }

    private void Append(InstanceId instance, LogStream stream, ReadOnlyMemory<byte> data, ulong begin, long nanoseconds, byte[] buffer)
    {
        if (_instance != instance)
            (_instance, _offsets) = (instance, default);
        if (_length >= _options.SegmentBytes)
            BeginSegment();
        var end = begin;
        var filled = 0;
        while (data.Length > 0)
        {
            var newline = data.Span[..Math.Min(data.Length, LogRecord.MaxData)].IndexOf((byte)'\n');
            var length = newline >= 0 ? newline + 1 : Math.Min(data.Length, LogRecord.MaxData);
            if (buffer.Length - filled < LogRecord.HeaderLength + length)
            {
                Flush(buffer.AsSpan(0, filled));
                Advance(stream, end);
                filled = 0;
            }
            end += (ulong)length;
            _lastNanoseconds = After(_lastNanoseconds, nanoseconds);
            filled += new LogRecord(stream, instance, _lastNanoseconds, end, data[..length]).Write(buffer.AsSpan(filled));
            data = data[length..];
        }
        Flush(buffer.AsSpan(0, filled));
        Advance(stream, end);
    }

    private void Flush(ReadOnlySpan<byte> records)
    {
        if (records.IsEmpty)
            return;
        try
        {
            RandomAccess.Write(_file!, records, _length);
            _length += records.Length;
        }
        catch (IOException)
        {
            // A part may have been written; the rest is tried again from here.
            RandomAccess.SetLength(_file!, _length);
            throw;
        }
    }

    /// <summary>A clock that was set back by more than a burst can have been ahead of it is believed.</summary>
    private static long After(long last, long now)
    {
        const long LongestBurst = 1_000_000_000;
        return now <= last && last - now < LongestBurst ? last + 1 : now;
    }

    private void Advance(LogStream stream, ulong end)
    {
        if (stream == LogStream.Stdout)
            _offsets = _offsets with { Stdout = end };
        else if (stream == LogStream.Stderr)
            _offsets = _offsets with { Stderr = end };
    }

    private void BeginSegment()
    {
        var file = File.OpenHandle(PathOf(_segment + 1), FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        _file?.Dispose();
        _file = file;
        _segment++;
        _length = 0;
        foreach (var old in Segments().Where(n => n <= _segment - _options.MaxSegments))
            File.Delete(PathOf(old));
        if (_instance is not { } instance)
            return;
        // A stream that prints seldom may have its last record in a file that goes: the mark keeps its offset.
        var mark = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(mark, _offsets.Stdout);
        BinaryPrimitives.WriteUInt64LittleEndian(mark.AsSpan(8), _offsets.Stderr);
        var record = new byte[LogRecord.HeaderLength + mark.Length];
        Flush(record.AsSpan(0, new LogRecord(LogStream.Mark, instance, _lastNanoseconds, 0, mark).Write(record)));
    }

    private void Recover()
    {
        using (var reader = new LogSegmentReader(PathOf(_segment)))
        {
            while (reader.TryRead(long.MaxValue, out var record))
            {
                if (_instance != record.Instance)
                    (_instance, _offsets) = (record.Instance, default);
                _lastNanoseconds = record.Nanoseconds;
                if (record is { Stream: LogStream.Mark, Data.Length: 16 })
                {
                    _offsets = new LogOffsets(
                        BinaryPrimitives.ReadUInt64LittleEndian(record.Data.Span),
                        BinaryPrimitives.ReadUInt64LittleEndian(record.Data.Span[8..]));
                }
                else
                {
                    Advance(record.Stream, record.End);
                }
            }
            _length = reader.Position;
        }
        _file = File.OpenHandle(PathOf(_segment), FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        if (RandomAccess.GetLength(_file) != _length)
            RandomAccess.SetLength(_file, _length);
    }
}

/// <param name="Follow">Go on as more comes.</param>
/// <param name="Tail">The last so many lines only.</param>
/// <param name="SinceNanoseconds">Not what is older.</param>
/// <param name="Instance">Of one instance only.</param>
internal sealed record LogQuery(bool Follow = false, long? Tail = null, long SinceNanoseconds = 0, InstanceId? Instance = null)
{
    public bool Matches(in LogRecord record) =>
        record.Stream != LogStream.Mark
        && record.Nanoseconds >= SinceNanoseconds
        && (Instance is not { } instance || record.Instance == instance);
}
