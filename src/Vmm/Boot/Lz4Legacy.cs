using System.Buffers.Binary;

namespace Ravel.Vmm.Boot;

/// <summary>
/// The frame <c>lz4 -l</c> writes, which is what kernels are packed with (lz4: doc/lz4_Frame_format.md "Legacy frame",
/// doc/lz4_Block_format.md). One file's format does not warrant a package.
/// </summary>
internal static class Lz4Legacy
{
    public const uint Magic = 0x184c2102;

    /// <exception cref="InvalidDataException">The data is damaged or does not unpack to <paramref name="size"/> bytes.</exception>
    public static byte[] Unpack(ReadOnlySpan<byte> packed, int size)
    {
        var output = new byte[size];
        var written = 0;
        var position = 4;
        while (position < packed.Length)
        {
            if (packed.Length - position < 4)
                throw Damaged();
            var length = BinaryPrimitives.ReadUInt32LittleEndian(packed[position..]);
            position += 4;
            if (length == Magic)
                continue;
            if (length > packed.Length - position)
                throw Damaged();
            written += UnpackBlock(packed.Slice(position, (int)length), output.AsSpan(written));
            position += (int)length;
        }
        return written == size ? output : throw Damaged();
    }

    private static int UnpackBlock(ReadOnlySpan<byte> block, Span<byte> output)
    {
        var read = 0;
        var written = 0;
        while (read < block.Length)
        {
            var token = block[read++];
            var literals = ReadLength(block, ref read, token >> 4);
            if (literals > block.Length - read || literals > output.Length - written)
                throw Damaged();
            block.Slice(read, literals).CopyTo(output[written..]);
            read += literals;
            written += literals;
            if (read == block.Length)
                break;

            if (block.Length - read < 2)
                throw Damaged();
            var distance = BinaryPrimitives.ReadUInt16LittleEndian(block[read..]);
            read += 2;
            var match = ReadLength(block, ref read, token & 15) + 4;
            if (distance == 0 || distance > written || match > output.Length - written)
                throw Damaged();
            // Source and target may overlap, which repeats the source.
            for (var end = written + match; written < end; written++)
                output[written] = output[written - distance];
        }
        return written;
    }

    private static int ReadLength(ReadOnlySpan<byte> block, ref int read, int length)
    {
        if (length < 15)
            return length;
        byte more;
        do
        {
            if (read == block.Length || length > int.MaxValue / 2)
                throw Damaged();
            more = block[read++];
            length += more;
        }
        while (more == 255);
        return length;
    }

    private static InvalidDataException Damaged() => new("the packed kernel is damaged");
}
