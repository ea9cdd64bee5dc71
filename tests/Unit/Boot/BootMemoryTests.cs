using System.Buffers.Binary;
using Ravel.Testing.Vmm;
using Ravel.Vmm;
using Ravel.Vmm.Boot;

namespace Ravel.Unit.Boot;

public sealed class BootMemoryTests
{
    private const int Mebibyte = 1 << 20;

    [Fact]
    public void A_bzimage_says_what_it_takes()
    {
        var image = KernelBytes.BzImage();
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x260), 51 * Mebibyte);

        Assert.Equal(51 * Mebibyte, BootMemory.SizeOf(image.AsSpan(0, 0x400)));
    }

    [Fact]
    public void An_elf_takes_what_it_loads()
    {
        var image = KernelBytes.Elf();
        // The first segment is loaded; the second is a note.
        BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(64 + 40), 18 * Mebibyte);
        BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(64 + 56 + 40), 99 * Mebibyte);

        Assert.Equal(18 * Mebibyte, BootMemory.SizeOf(image));
    }

    [Theory]
    [InlineData(1, 80)]
    [InlineData(4, 88)]
    [InlineData(8, 96)]
    [InlineData(16, 112)]
    public void The_stock_kernel_needs_what_it_was_seen_to_boot_with(int cpus, int mib) =>
        Assert.Equal(mib, new BootMemory(KernelBytes: 53_968_896, InitramfsBytes: 5_114_368).MinimumMib(cpus));

    [Fact]
    public void Cut_off_anywhere_it_says_nothing_and_nothing_is_refused()
    {
        var elf = KernelBytes.Elf();
        for (var length = 0; length < 64 + (2 * 56); length++)
            Assert.Equal(0, BootMemory.SizeOf(elf.AsSpan(0, length)));
        Assert.Equal(0, BootMemory.SizeOf(KernelBytes.BzImage().AsSpan(0, 0x263)));
        Assert.Equal(0, new BootMemory(KernelBytes: 0, InitramfsBytes: 5 * Mebibyte).MinimumMib(4));
    }

    [Fact]
    public void A_missing_kernel_is_named()
    {
        var refused = Assert.Throws<VmmException>(() => BootMemory.Of(new BootSource("/nowhere/vmlinuz", "/nowhere/init")));

        Assert.Contains("/nowhere/vmlinuz", refused.Message, StringComparison.Ordinal);
    }
}
