using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using CsCheck;
using Ravel.Vmm.Boot;

namespace Ravel.Unit.Boot;

public sealed class KernelImageTests
{
    private static readonly byte[] Elf = [0x7f, (byte)'E', (byte)'L', (byte)'F', .. Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("kernel ", 1000)))];

    private static byte[] BzImage(byte[] payload)
    {
        var image = new byte[(3 * 512) + 100 + payload.Length];
        image[0x1f1] = 2;
        "HdrS"u8.CopyTo(image.AsSpan(0x202));
        BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(0x206), 0x20f);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x248), 100);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x24c), (uint)payload.Length);
        payload.CopyTo(image.AsSpan((3 * 512) + 100));
        return image;
    }

    private static byte[] WithSize(byte[] packed, int size) => [.. packed, .. BitConverter.GetBytes(size)];

    /// <summary>"abcabc…" as a literal and an overlapping match, then literals, as the block format describes them.</summary>
    private static byte[] Lz4(byte[] literals, int matchLength, int distance, byte[] last)
    {
        var block = new List<byte> { (byte)((Math.Min(15, literals.Length) << 4) | Math.Min(15, matchLength - 4)) };
        Length(block, literals.Length);
        block.AddRange(literals);
        block.AddRange(BitConverter.GetBytes((ushort)distance));
        Length(block, matchLength - 4);
        block.Add((byte)(Math.Min(15, last.Length) << 4));
        Length(block, last.Length);
        block.AddRange(last);
        return [0x02, 0x21, 0x4c, 0x18, .. BitConverter.GetBytes(block.Count), .. block];
    }

    private static void Length(List<byte> block, int length)
    {
        if (length < 15)
            return;
        for (length -= 15; length >= 255; length -= 255)
            block.Add(255);
        block.Add((byte)length);
    }

    [Fact]
    public void A_gzip_kernel_is_unpacked()
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(Elf);
        Assert.Equal(Elf, KernelImage.ExtractElf(BzImage(packed.ToArray())));
    }

    [Fact]
    public void A_zstd_kernel_is_unpacked()
    {
        using var compressor = new ZstdSharp.Compressor();
        Assert.Equal(Elf, KernelImage.ExtractElf(BzImage(WithSize(compressor.Wrap(Elf).ToArray(), Elf.Length))));
    }

    [Theory]
    [InlineData(3, 4)]
    [InlineData(7, 7000)]
    [InlineData(1, 19)]
    public void An_lz4_kernel_is_unpacked(int distance, int matchLength)
    {
        var literals = Elf[..300];
        var last = Elf[..20];
        var expected = new List<byte>(literals);
        for (var i = 0; i < matchLength; i++)
            expected.Add(expected[^distance]);
        expected.AddRange(last);
        var packed = Lz4(literals, matchLength, distance, last);
        Assert.Equal(expected, KernelImage.ExtractElf(BzImage(WithSize(packed, expected.Count))));
    }

    [Fact]
    public void An_elf_is_taken_as_it_is()
    {
        Assert.Equal(Elf, KernelImage.ExtractElf(Elf));
        Assert.Equal(Elf, KernelImage.ExtractElf(BzImage(Elf)));
    }

    [Fact]
    public void What_is_no_kernel_is_refused()
    {
        Assert.Throws<InvalidDataException>(() => KernelImage.ExtractElf([]));
        Assert.Throws<InvalidDataException>(() => KernelImage.ExtractElf("#!/bin/sh\n"u8));
        Assert.Throws<InvalidDataException>(() => KernelImage.ExtractElf(BzImage(Encoding.ASCII.GetBytes("what is this packing?"))));
        Assert.Throws<InvalidDataException>(() => KernelImage.ExtractElf(BzImage(Elf).AsSpan(0, 2000)));
    }

    [Fact]
    public void A_damaged_kernel_is_refused_or_differs_but_never_reads_elsewhere()
    {
        var image = BzImage(WithSize(Lz4(Elf[..300], 5000, 7, Elf[..20]), 5320));
        Gen.Select(Gen.Int[0, image.Length - 1], Gen.Byte).Sample((at, value) =>
        {
            var damaged = image.ToArray();
            damaged[at] = value;
            try
            {
                KernelImage.ExtractElf(damaged);
            }
            catch (InvalidDataException)
            {
            }
        });
    }
}
