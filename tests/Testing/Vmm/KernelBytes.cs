using System.Buffers.Binary;
using System.Text;

namespace Ravel.Testing.Vmm;

/// <summary>The smallest files that pass for kernels.</summary>
public static class KernelBytes
{
    private const int SegmentAt = 64;
    private const int NoteAt = SegmentAt + (2 * 56);
    private const int BannerAt = NoteAt + 24;

    /// <summary>An ELF with a loadable segment, a banner, and a PVH note.</summary>
    public static byte[] Elf(string release = "6.1.0-test", int machine = 62, int type = 2, bool isPvh = true)
    {
        var banner = Encoding.ASCII.GetBytes($"Linux version {release} (ravel@ravel) #1\n");
        var elf = new byte[BannerAt + banner.Length];
        new byte[] { 0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1 }.CopyTo(elf, 0);
        U16(elf, 16, type);
        U16(elf, 18, machine);
        BinaryPrimitives.WriteUInt64LittleEndian(elf.AsSpan(32), SegmentAt);
        U16(elf, 54, 56);
        U16(elf, 56, 2);
        Segment(elf, SegmentAt, 1, 0, elf.Length);
        Segment(elf, SegmentAt + 56, 4, NoteAt, 20);
        BinaryPrimitives.WriteUInt32LittleEndian(elf.AsSpan(NoteAt), 4);
        BinaryPrimitives.WriteUInt32LittleEndian(elf.AsSpan(NoteAt + 4), 4);
        BinaryPrimitives.WriteUInt32LittleEndian(elf.AsSpan(NoteAt + 8), isPvh ? 18u : 1u);
        "Xen\0"u8.CopyTo(elf.AsSpan(NoteAt + 12));
        banner.CopyTo(elf, BannerAt);
        return elf;
    }

    /// <summary>A bzImage whose payload is an ELF that is not packed.</summary>
    public static byte[] BzImage(string release = "6.1.0-test", bool is64Bit = true)
    {
        var payload = Elf(release);
        const int Setup = 3 * 512;
        var code = (payload.Length + 15) / 16 * 16;
        var image = new byte[Setup + code];
        image[0x1f1] = 2;
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x1f4), (uint)(code / 16));
        "HdrS"u8.CopyTo(image.AsSpan(0x202));
        U16(image, 0x206, 0x20f);
        U16(image, 0x20e, 0x200);
        U16(image, 0x236, is64Bit ? 1 : 0);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x24c), (uint)payload.Length);
        Encoding.ASCII.GetBytes($"{release} (ravel@ravel) #1\0").CopyTo(image, 0x400);
        payload.CopyTo(image, Setup);
        return image;
    }

    private static void Segment(byte[] elf, int at, uint type, int offset, int length)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(elf.AsSpan(at), type);
        BinaryPrimitives.WriteUInt64LittleEndian(elf.AsSpan(at + 8), (ulong)offset);
        BinaryPrimitives.WriteUInt64LittleEndian(elf.AsSpan(at + 32), (ulong)length);
    }

    private static void U16(byte[] data, int at, int value) => BinaryPrimitives.WriteUInt16LittleEndian(data.AsSpan(at), (ushort)value);
}
