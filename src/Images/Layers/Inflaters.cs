using System.Buffers.Binary;
using System.IO.Compression;

namespace Ravel.Images.Layers;

/// <summary>Picks an inflater by a layer's first bytes: media types in the wild are often wrong, and docker's archives have none.</summary>
internal static class Inflaters
{
    /// <summary>Windows up to 128 MiB (<c>zstd --long</c>); a frame that asks for more is refused.</summary>
    private const int ZstdWindowBits = 27;

    /// <summary>What a layer may take while others do too: 32 MiB, as much as image builders use at their best level.</summary>
    private const int ZstdSharedWindowBits = 25;

    /// <param name="waitForTurn">
    /// Called before memory is taken of which there is only enough for one layer at a time; returns when this one may.
    /// </param>
    public static Stream Open(ChunkQueueStream stored, Action waitForTurn)
    {
        var start = stored.Peek();
        // Later frames are held to what the first one was given; those of one layer come from one encoder.
        if (start is [0x28, 0xb5, 0x2f, 0xfd, ..] && ZstdWindow(start) <= 1L << ZstdSharedWindowBits)
            return new ZstdInflater(stored, ZstdSharedWindowBits);
        // What asks for more, or begins with a frame to skip, which says nothing of the next.
        if (IsCompressed(start) && start is not [0x1f, 0x8b, ..])
            waitForTurn();
        return Open(stored, start);
    }

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

    /// <summary>Memory that a frame asks for (RFC 8878, 3.1.1.1); the largest number when its header is not whole.</summary>
    private static long ZstdWindow(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < 18)
            return long.MaxValue;
        var descriptor = frame[4];
        if ((descriptor & 0x20) == 0)
        {
            var bits = 10 + (frame[5] >> 3);
            return (1L << bits) + ((1L << bits) / 8 * (frame[5] & 7));
        }
        // A single segment has no window but its content's size, which stands behind the dictionary's number.
        var size = frame[(5 + (descriptor & 3) + ((descriptor & 3) == 3 ? 1 : 0))..];
        return (descriptor >> 6) switch
        {
            0 => size[0],
            1 => BinaryPrimitives.ReadUInt16LittleEndian(size) + 256,
            2 => BinaryPrimitives.ReadUInt32LittleEndian(size),
            _ => (long)Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(size), long.MaxValue),
        };
    }

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
}
