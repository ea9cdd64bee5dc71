using CsCheck;
using Ravel.Testing.Vmm;
using Ravel.Vmm.Kernels;

namespace Ravel.Unit.Vmm.Kernels;

public sealed class KernelFileTests
{
    [Fact]
    public void An_elf_and_a_bzimage_say_what_they_are()
    {
        Assert.Equal(new KernelFile(KernelFormat.Elf, "6.1.0-test"), KernelFile.Inspect(KernelBytes.Elf()));
        Assert.Equal(new KernelFile(KernelFormat.BzImage, "6.1.0-test"), KernelFile.Inspect(KernelBytes.BzImage()));
    }

    [Theory]
    [InlineData(183, 2, true, "another machine")]
    [InlineData(62, 1, true, "object file")]
    [InlineData(62, 2, false, "CONFIG_PVH")]
    public void An_elf_that_cannot_be_booted_here_is_told_why(int machine, int type, bool isPvh, string why) =>
        Refused(KernelBytes.Elf(machine: machine, type: type, isPvh: isPvh), why);

    [Fact]
    public void Kernels_for_other_machines_and_files_of_other_kinds_are_told_why()
    {
        Refused(KernelBytes.BzImage(is64Bit: false), "32-bit");
        var arm = new byte[4096];
        "ARM\x64"u8.CopyTo(arm.AsSpan(56));
        Refused(arm, "arm64");
        Refused("#!/bin/sh\n"u8.ToArray(), "neither");
        Refused([], "neither");
    }

    [Fact]
    public void Cut_off_anywhere_it_is_no_kernel()
    {
        foreach (var whole in new[] { KernelBytes.Elf(), KernelBytes.BzImage() })
        {
            for (var length = 0; length < whole.Length; length++)
                Assert.Throws<InvalidDataException>(() => KernelFile.Inspect(whole.AsSpan(0, length)));
        }
    }

    [Fact]
    public void Whatever_is_damaged_is_refused_or_taken_and_never_crashes() =>
        Gen.Select(Gen.Bool, Gen.Int[0, 2000], Gen.Byte).Array[1, 8].Sample(changes =>
        {
            var image = changes[0].Item1 ? KernelBytes.Elf() : KernelBytes.BzImage();
            foreach (var (_, at, value) in changes)
                image[at % image.Length] = value;
            try
            {
                KernelFile.Inspect(image);
            }
            catch (InvalidDataException)
            {
                // Refused, which is what is asked for.
            }
        });

    private static void Refused(byte[] image, string why) =>
        Assert.Contains(why, Assert.Throws<InvalidDataException>(() => KernelFile.Inspect(image)).Message, StringComparison.Ordinal);
}
