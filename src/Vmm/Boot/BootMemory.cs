using System.Buffers.Binary;

namespace Ravel.Vmm.Boot;

/// <summary>
/// The least memory a guest boots in. A kernel that gets less does not say so: it resets while it unpacks itself, or finds no init. Formats: kernel,
/// Documentation/arch/x86/boot.rst, "init_size"; elf(5).
/// </summary>
/// <param name="KernelBytes">What the kernel takes to start; 0 when its file does not say.</param>
/// <param name="InitramfsBytes">Length of the initramfs, which is not packed.</param>
public sealed record BootMemory(long KernelBytes, long InitramfsBytes)
{
    /// <summary>
    /// For what the kernel allocates until init has the guest's file systems mounted. Measured with the stock kernel of Debian 12: it boots with 80 MiB and
    /// 1 CPU, 88 and 4, 96 and 8, 112 and 16; not with 78 and 1, nor 80 and 4.
    /// </summary>
    private const int WorkingMib = 16;

    /// <summary>For the areas that the kernel keeps for each virtual CPU.</summary>
    private const int MibPerCpu = 2;

    private const int HeaderBytes = 4096;
    private const int BootMagicAt = 0x202;
    private const int InitSizeAt = 0x260;
    private const int SegmentLoad = 1;
    private const int SegmentBytes = 56;

    /// <exception cref="VmmException">A file cannot be read.</exception>
    public static BootMemory Of(BootSource boot)
    {
        try
        {
            using var kernel = File.OpenHandle(boot.KernelPath);
            var head = new byte[HeaderBytes];
            var read = RandomAccess.Read(kernel, head, 0);
            return new BootMemory(SizeOf(head.AsSpan(0, read)), new FileInfo(boot.InitramfsPath).Length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"kernel {boot.KernelPath} or its initramfs cannot be read: {e.Message}", e);
        }
    }

    /// <summary>In MiB, a multiple of 8; 0 when it is not known. The initramfs counts twice: it is unpacked before it is given up.</summary>
    public int MinimumMib(int cpus)
    {
        if (KernelBytes == 0)
            return 0;
        var mib = ((KernelBytes + (2 * InitramfsBytes) + (1 << 20) - 1) >> 20) + WorkingMib + ((long)MibPerCpu * cpus);
        return (int)Math.Min((mib + 7) / 8 * 8, int.MaxValue - 7);
    }

    /// <summary>What a kernel takes to start, by the head of its file; 0 when that does not say.</summary>
    internal static long SizeOf(ReadOnlySpan<byte> head)
    {
        if (!KernelImage.IsElf(head))
        {
            return head.Length >= InitSizeAt + 4 && head[BootMagicAt..].StartsWith("HdrS"u8)
                ? BinaryPrimitives.ReadUInt32LittleEndian(head[InitSizeAt..])
                : 0;
        }
        if (head.Length < 64)
            return 0;
        var table = BinaryPrimitives.ReadUInt64LittleEndian(head[32..]);
        var (size, count) = (BinaryPrimitives.ReadUInt16LittleEndian(head[54..]), BinaryPrimitives.ReadUInt16LittleEndian(head[56..]));
        if (size < SegmentBytes || table > (ulong)head.Length || table + (ulong)(size * count) > (ulong)head.Length)
            return 0;
        var sum = 0L;
        for (var i = 0; i < count; i++)
        {
            var segment = head.Slice((int)table + (i * size), size);
            if (BinaryPrimitives.ReadUInt32LittleEndian(segment) == SegmentLoad)
                sum += (long)Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(segment[40..]), Kernels.KernelFile.MaxBytes);
        }
        return sum;
    }
}
