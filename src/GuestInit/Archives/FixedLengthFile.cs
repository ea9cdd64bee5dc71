namespace Ravel.GuestInit.Archives;

/// <summary>
/// A file as long as its header said, whatever is done to it meanwhile: what it grows by is left out, and one that shrinks breaks the
/// archive off.
/// </summary>
internal sealed class FixedLengthFile : Stream
{
    private readonly FileStream _file;
    private readonly string _path;
    private long _position;

    public FixedLengthFile(string path, long length)
    {
        _path = path;
        Length = length;
        _file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
    }

    public override bool CanRead => true;

    /// <summary>The writer asks for the length of what can seek, and copies anything else into memory.</summary>
    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length { get; }

    public override long Position
    {
        get => _position;
        set => throw new NotSupportedException();
    }

    public override int Read(Span<byte> buffer)
    {
        var wanted = (int)Math.Min(buffer.Length, Length - _position);
        if (wanted == 0)
            return 0;
        var read = _file.Read(buffer[..wanted]);
        if (read == 0)
            throw new IOException($"{_path} became shorter while it was read");
        _position += read;
        return read;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            _file.Dispose();
        base.Dispose(disposing);
    }
}
