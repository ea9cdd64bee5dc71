namespace Ravel.Agent.Logs;

/// <summary>Reads the records of one log file in order.</summary>
internal sealed class LogSegmentReader : IDisposable
{
    private readonly FileStream _file;
    private readonly byte[] _buffer = new byte[128 * 1024];
    private int _begin;
    private int _end;

    public LogSegmentReader(string path)
    {
        _file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
    }

    /// <summary>Offset behind the last record returned.</summary>
    public long Position { get; private set; }

    /// <summary>The next record that ends at or before <paramref name="limit"/>; its data is valid until the next call.</summary>
    public bool TryRead(long limit, out LogRecord record)
    {
        while (true)
        {
            var available = (int)Math.Min(_end - _begin, limit - Position);
            var length = LogRecord.TryRead(_buffer.AsMemory(_begin, Math.Max(0, available)), out record);
            if (length > 0)
            {
                _begin += length;
                Position += length;
                return true;
            }
            if (length < 0 || available < _end - _begin || !Fill())
                return false;
        }
    }

    public void Dispose() => _file.Dispose();

    private bool Fill()
    {
        if (_begin > 0)
        {
            _buffer.AsSpan(_begin, _end - _begin).CopyTo(_buffer);
            _end -= _begin;
            _begin = 0;
        }
        var read = RandomAccess.Read(_file.SafeFileHandle, _buffer.AsSpan(_end), Position + _end);
        _end += read;
        return read > 0;
    }
}
