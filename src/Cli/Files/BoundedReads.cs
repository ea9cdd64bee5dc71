namespace Ravel.Cli.Files;

/// <summary>
/// An archive of which nobody reads more than 1 MiB at once. .NET's tar reader asks for a file's content in small pieces, but for
/// a name or an extended header whole, however many gigabytes its header says; memory is taken up only as they arrive, so none do.
/// </summary>
internal sealed class BoundedReads(Stream inner) : Stream
{
    /// <summary>As much as the guest's own paths and extended attributes ever need.</summary>
    private const int Most = 1024 * 1024;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        buffer.Length <= Most ? inner.ReadAsync(buffer, cancellationToken) : throw new InvalidDataException($"it has a header of over {Most} bytes");

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
