using System.IO.Compression;

namespace Ravel.Images.Layers;

/// <summary>Picks an inflater by a layer's first bytes: media types in the wild are often wrong, and docker's archives have none.</summary>
internal static class Inflaters
{
    /// <summary>Windows up to 128 MiB (<c>zstd --long</c>); a frame that asks for more is refused.</summary>
    private const int ZstdWindowBits = 27;

    public static Stream Open(ChunkQueueStream stored) => Open(stored, stored.Peek());

    /// <summary>Whether the first bytes are of a form that <see cref="Open(Stream, ReadOnlySpan{byte})"/> inflates.</summary>
    public static bool IsCompressed(ReadOnlySpan<byte> start) =>
        start is [0x1f, 0x8b, ..] or [0x28, 0xb5, 0x2f, 0xfd, ..] or [>= 0x50 and <= 0x5f, 0x2a, 0x4d, 0x18, ..];

    public static Stream Open(Stream stored, ReadOnlySpan<byte> start) => start switch
    {
        [0x1f, 0x8b, ..] => new GZipStream(stored, CompressionMode.Decompress, leaveOpen: true),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => new ZstdInflater(stored, ZstdWindowBits),
        // A skippable frame may come first (zstd, RFC 8878, 3.1.2).
        [>= 0x50 and <= 0x5f, 0x2a, 0x4d, 0x18, ..] => new ZstdInflater(stored, ZstdWindowBits),
        _ => new Unclosed(stored),
    };

    /// <summary>The stored bytes are the archive.</summary>
    private sealed class Unclosed(Stream inner) : ReadOnlyStream
    {
        public override int Read(Span<byte> buffer) => inner.Read(buffer);
    }

    private sealed class ZstdInflater : ReadOnlyStream
    {
        private readonly ZstdSharp.DecompressionStream _stream;

        public ZstdInflater(Stream stored, int windowBits)
        {
            _stream = new ZstdSharp.DecompressionStream(stored, leaveOpen: true);
            _stream.SetParameter(ZstdSharp.Unsafe.ZSTD_dParameter.ZSTD_d_windowLogMax, windowBits);
        }

        public override int Read(Span<byte> buffer)
        {
            try
            {
                return _stream.Read(buffer);
            }
            catch (Exception e) when (e is ZstdSharp.ZstdException or EndOfStreamException)
            {
                throw new InvalidDataException(e.Message, e);
            }
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                _stream.Dispose();
            base.Dispose(disposing);
        }
    }

    private abstract class ReadOnlyStream : Stream
    {
        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public abstract override int Read(Span<byte> buffer);

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
