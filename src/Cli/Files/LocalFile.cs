using Ravel.Cli.Errors;

namespace Ravel.Cli.Files;

/// <summary>
/// A file of this host as long as it was when it was opened, whatever is done to it meanwhile: a tar says the length first. What it
/// grows by is left out, and one that shrinks breaks the copy off. Its failures cannot be taken for those of the way to the server.
/// </summary>
internal sealed class LocalFile : Stream
{
    private readonly FileStream _file;
    private readonly string _path;
    private long _position;

    /// <exception cref="IOException">It cannot be opened.</exception>
    public LocalFile(string path)
    {
        _path = path;
        _file = new FileStream(
            path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, FileOptions.Asynchronous | FileOptions.SequentialScan);
        Length = _file.Length;
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

    /// <exception cref="CliException">It cannot be read, or has become shorter.</exception>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var wanted = (int)Math.Min(buffer.Length, Length - _position);
        if (wanted == 0)
            return 0;
        try
        {
            var read = await _file.ReadAsync(buffer[..wanted], cancellationToken);
            if (read == 0)
                throw new CliException(_path, "became shorter while it was read", "copy it again");
            _position += read;
            return read;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(_path, $"cannot be read: {e.Message.TrimEnd('.')}");
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

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
