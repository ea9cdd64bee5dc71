using System.Buffers.Binary;
using System.IO.Compression;
using System.Security.Cryptography;
using ZstdSharp;

namespace Ravel.Vmm.Boot;

/// <summary>
/// Takes the uncompressed kernel out of a bzImage, for VMMs that boot ELF only (Firecracker before 1.17). Format: kernel,
/// Documentation/arch/x86/boot.rst, "payload_offset".
/// </summary>
public static class KernelImage
{
    private const int MaxKernel = 256 * 1024 * 1024;
    private const int BootMagicAt = 0x202;
    private const int VersionAt = 0x206;
    private const int SetupSectorsAt = 0x1f1;
    private const int PayloadOffsetAt = 0x248;
    private const int PayloadLengthAt = 0x24c;
    private const int FirstVersionWithPayload = 0x208;

    private const uint ZstdMagic = 0xfd2fb528;

    private static ReadOnlySpan<byte> GzipMagic => [0x1f, 0x8b];

    private static ReadOnlySpan<byte> ElfMagic => [0x7f, (byte)'E', (byte)'L', (byte)'F'];

    public static bool IsElf(ReadOnlySpan<byte> image) => image.StartsWith(ElfMagic);

    /// <summary>Path of an ELF with the same kernel: the file itself, or one in <paramref name="directory"/> named by its digest.</summary>
    /// <exception cref="VmmException">It is no kernel, or packed in a way that is not supported; the message names it.</exception>
    public static async Task<string> EnsureElfAsync(string kernelPath, string directory, CancellationToken cancellationToken)
    {
        var image = await File.ReadAllBytesAsync(kernelPath, cancellationToken);
        if (IsElf(image))
            return kernelPath;
        var path = Path.Combine(directory, $"vmlinux-{Convert.ToHexStringLower(SHA256.HashData(image))[..16]}");
        if (File.Exists(path))
            return path;
        byte[] elf;
        try
        {
            elf = ExtractElf(image);
        }
        catch (InvalidDataException e)
        {
            throw new VmmException($"kernel {kernelPath}: {e.Message}", e);
        }
        Directory.CreateDirectory(directory);
        var temporary = $"{path}.{Environment.ProcessId}.tmp";
        await using (var file = new FileStream(temporary, FileMode.Create, FileAccess.Write))
        {
            await file.WriteAsync(elf, cancellationToken);
            file.Flush(flushToDisk: true);
        }
        File.Move(temporary, path, overwrite: true);
        return path;
    }

    /// <exception cref="InvalidDataException">It is no kernel, or packed in a way that is not supported.</exception>
    public static byte[] ExtractElf(ReadOnlySpan<byte> image)
    {
        if (IsElf(image))
            return image.ToArray();
        var elf = Unpack(PayloadOf(image));
        if (!IsElf(elf))
            throw new InvalidDataException("the bzImage holds no ELF");
        return elf;
    }

    /// <summary>Whether <see cref="ExtractElf"/> knows the packer; a bzImage unpacks itself, so that it may boot all the same.</summary>
    /// <exception cref="InvalidDataException">It is no bzImage, or truncated.</exception>
    public static bool CanExtract(ReadOnlySpan<byte> image)
    {
        var payload = PayloadOf(image);
        return IsElf(payload) || payload.StartsWith(GzipMagic)
            || BinaryPrimitives.ReadUInt32LittleEndian(payload) is Lz4Legacy.Magic or ZstdMagic;
    }

    private static ReadOnlySpan<byte> PayloadOf(ReadOnlySpan<byte> image)
    {
        if (image.Length < PayloadLengthAt + 4 || !image[BootMagicAt..].StartsWith("HdrS"u8))
            throw new InvalidDataException("neither a bzImage nor an ELF");
        if (BinaryPrimitives.ReadUInt16LittleEndian(image[VersionAt..]) < FirstVersionWithPayload)
            throw new InvalidDataException("the boot protocol is too old to say where the kernel is");
        var sectors = image[SetupSectorsAt] == 0 ? 4 : image[SetupSectorsAt];
        var offset = (((long)sectors + 1) * 512) + BinaryPrimitives.ReadUInt32LittleEndian(image[PayloadOffsetAt..]);
        long length = BinaryPrimitives.ReadUInt32LittleEndian(image[PayloadLengthAt..]);
        if (length < 8 || offset + length > image.Length)
            throw new InvalidDataException("the bzImage is truncated");
        return image.Slice((int)offset, (int)length);
    }

    private static byte[] Unpack(ReadOnlySpan<byte> payload)
    {
        if (IsElf(payload))
            return payload.ToArray();
        if (payload.StartsWith(GzipMagic))
            return Inflate(s => new GZipStream(s, CompressionMode.Decompress), payload);

        // The other packers have the unpacked length appended (kernel: scripts/Makefile.lib, size_append).
        var body = payload[..^4];
        var size = BinaryPrimitives.ReadUInt32LittleEndian(payload[^4..]);
        if (size > MaxKernel)
            throw new InvalidDataException($"the unpacked kernel would have {size} bytes");
        return BinaryPrimitives.ReadUInt32LittleEndian(payload) switch
        {
            Lz4Legacy.Magic => Lz4Legacy.Unpack(body, (int)size),
            ZstdMagic => Inflate(s => new DecompressionStream(s), body),
            _ => throw new InvalidDataException("the kernel is packed with something else than gzip, LZ4 or zstd: use an uncompressed vmlinux"),
        };
    }

    private static byte[] Inflate(Func<Stream, Stream> open, ReadOnlySpan<byte> packed)
    {
        using var input = open(new MemoryStream(packed.ToArray()));
        using var output = new MemoryStream();
        var buffer = new byte[1 << 20];
        int read;
        try
        {
            while ((read = input.Read(buffer)) > 0)
            {
                if (output.Length + read > MaxKernel)
                    throw new InvalidDataException("the unpacked kernel is too large");
                output.Write(buffer, 0, read);
            }
        }
        catch (ZstdException e)
        {
            throw new InvalidDataException($"the packed kernel is damaged: {e.Message}", e);
        }
        return output.ToArray();
    }
}
