using System.Buffers.Binary;
using System.Text;
using Ravel.Vmm.Boot;

namespace Ravel.Vmm.Kernels;

/// <summary>How a kernel's file is packed.</summary>
public enum KernelFormat
{
    BzImage,
    Elf,
}

/// <summary>
/// Tells whether a file is a kernel that QEMU and Firecracker can boot, before a guest finds out. Formats: kernel,
/// Documentation/arch/x86/boot.rst; elf(5); the PVH note: Xen, include/public/elfnote.h.
/// </summary>
public sealed record KernelFile(KernelFormat Format, string Release)
{
    /// <summary>Larger files are no guest kernels.</summary>
    public const int MaxBytes = 256 * 1024 * 1024;

    private const int MaxRelease = 128;
    private const int LongestBanner = 512;

    // Of the setup header.
    private const int SetupSectorsAt = 0x1f1;
    private const int CodeParagraphsAt = 0x1f4;
    private const int MagicAt = 0x202;
    private const int VersionAt = 0x206;
    private const int ReleaseAt = 0x20e;
    private const int LoadFlags64At = 0x236;
    private const int PayloadOffsetAt = 0x248;
    private const int FirstVersionWith64BitFlags = 0x20c;

    // Of ELF.
    private const int Class64 = 2;
    private const int LittleEndian = 1;
    private const int MachineX86 = 62;
    private const int TypeExecutable = 2;
    private const int TypeShared = 3;
    private const int SegmentLoad = 1;
    private const int SegmentNote = 4;
    private const int PvhEntry = 18;

    /// <exception cref="InvalidDataException">It is none; the message says why, and what to do where that is clear.</exception>
    public static KernelFile Inspect(ReadOnlySpan<byte> image)
    {
        if (KernelImage.IsElf(image))
            return new KernelFile(KernelFormat.Elf, InspectElf(image));
        if (image.Length > MagicAt + 4 && image[MagicAt..].StartsWith("HdrS"u8))
            return new KernelFile(KernelFormat.BzImage, InspectBzImage(image));
        if (image.Length > 60 && image[56..].StartsWith("ARM\x64"u8))
            throw new InvalidDataException("it is a kernel for arm64; guests of this host are x86-64");
        throw new InvalidDataException("it is neither a bzImage nor an ELF");
    }

    private static string InspectBzImage(ReadOnlySpan<byte> image)
    {
        if (image.Length < PayloadOffsetAt + 8)
            throw new InvalidDataException("the bzImage is truncated");
        var version = BinaryPrimitives.ReadUInt16LittleEndian(image[VersionAt..]);
        if (version < FirstVersionWith64BitFlags || (image[LoadFlags64At] & 1) == 0)
            throw new InvalidDataException("it is a kernel for 32-bit x86; guests of this host are x86-64");
        var sectors = image[SetupSectorsAt] == 0 ? 4 : image[SetupSectorsAt];
        var code = (sectors + 1) * 512;
        if (code + (BinaryPrimitives.ReadUInt32LittleEndian(image[CodeParagraphsAt..]) * 16L) > image.Length)
            throw new InvalidDataException("the bzImage is truncated");
        if (KernelImage.CanExtract(image))
            InspectElf(KernelImage.ExtractElf(image));

        var at = BinaryPrimitives.ReadUInt16LittleEndian(image[ReleaseAt..]) + 0x200;
        return at > 0x200 && at < code ? ReadRelease(image[at..]) : "";
    }

    private static string InspectElf(ReadOnlySpan<byte> elf)
    {
        if (elf.Length < 64)
            throw new InvalidDataException("the ELF is truncated");
        if (elf[4] != Class64 || elf[5] != LittleEndian || U16(elf, 18) != MachineX86)
            throw new InvalidDataException("it is an ELF for another machine; guests of this host are x86-64");
        if (U16(elf, 16) is not (TypeExecutable or TypeShared))
            throw new InvalidDataException("the ELF is no program: an object file or a module is no kernel");
        var table = BinaryPrimitives.ReadUInt64LittleEndian(elf[32..]);
        var (size, count) = (U16(elf, 54), U16(elf, 56));
        if (size < 56 || count == 0 || table > (ulong)elf.Length || table + (ulong)(size * count) > (ulong)elf.Length)
            throw new InvalidDataException("the ELF is truncated");

        var (isLoaded, isPvh) = (false, false);
        for (var i = 0; i < count; i++)
        {
            var segment = elf.Slice((int)table + (i * size), size);
            var offset = BinaryPrimitives.ReadUInt64LittleEndian(segment[8..]);
            var length = BinaryPrimitives.ReadUInt64LittleEndian(segment[32..]);
            if (offset > (ulong)elf.Length || length > (ulong)elf.Length - offset)
                throw new InvalidDataException("the ELF is truncated");
            var type = BinaryPrimitives.ReadUInt32LittleEndian(segment);
            isLoaded |= type == SegmentLoad && length > 0;
            isPvh |= type == SegmentNote && HasPvhNote(elf.Slice((int)offset, (int)length));
        }
        var banner = elf.IndexOf("Linux version "u8);
        if (!isLoaded || banner < 0)
            throw new InvalidDataException("the ELF is not a Linux kernel");
        if (!isPvh)
            throw new InvalidDataException("the kernel has no PVH entry, by which an ELF is booted: configure it with CONFIG_PVH=y, or give its bzImage");
        return ReadRelease(elf[(banner + "Linux version ".Length)..]);
    }

    /// <summary>Notes are: lengths of name and content, type, name, content, the last two filled up to 4 bytes.</summary>
    private static bool HasPvhNote(ReadOnlySpan<byte> notes)
    {
        while (notes.Length >= 12)
        {
            var name = BinaryPrimitives.ReadUInt32LittleEndian(notes);
            var content = BinaryPrimitives.ReadUInt32LittleEndian(notes[4..]);
            var type = BinaryPrimitives.ReadUInt32LittleEndian(notes[8..]);
            var next = 12 + (((ulong)name + 3) & ~3UL) + (((ulong)content + 3) & ~3UL);
            if (name > (uint)notes.Length - 12)
                return false;
            if (type == PvhEntry && notes.Slice(12, (int)name).SequenceEqual("Xen\0"u8))
                return true;
            if (next > (ulong)notes.Length)
                return false;
            notes = notes[(int)next..];
        }
        return false;
    }

    /// <summary>Up to the first blank; what is not plain becomes '?', because it is shown to people.</summary>
    private static string ReadRelease(ReadOnlySpan<byte> text)
    {
        text = text[..Math.Min(text.Length, LongestBanner)];
        var end = text.IndexOfAny(" \0\n"u8);
        text = end < 0 ? text : text[..end];
        var release = new StringBuilder();
        foreach (var c in text[..Math.Min(text.Length, MaxRelease)])
            release.Append(c is > 0x20 and < 0x7f ? (char)c : '?');
        return release.ToString();
    }

    private static int U16(ReadOnlySpan<byte> data, int at) => BinaryPrimitives.ReadUInt16LittleEndian(data[at..]);
}
