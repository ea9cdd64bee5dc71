using System.Globalization;

namespace Ravel.Vmm.Qemu;

/// <summary>
/// Numbers of the open files QEMU is handed: it opens none of a VM's by name, and its user may reach none. In the order of <see cref="QemuFiles"/>.
/// </summary>
/// <param name="Drives">One each.</param>
/// <param name="Taps">One each; none for a template's guest.</param>
/// <param name="Vhosts">Beside each tap, where the host has vhost-net.</param>
/// <param name="State">What it restores, or null.</param>
/// <param name="Memory">The file that is its memory, or null.</param>
internal sealed record QemuDescriptors(
    int Kernel, int Initramfs, IReadOnlyList<int> Drives, IReadOnlyList<int> Taps, IReadOnlyList<int> Vhosts, int? State, int? Memory)
{
    /// <summary>The sockets of monitor and link, which are listening already.</summary>
    public const int Monitor = 3;

    public const int Link = 4;

    /// <param name="spec">The VM.</param>
    /// <param name="host">Where it runs.</param>
    /// <param name="isTemplate">Whether it is the guest of a template that is being made.</param>
    public static QemuDescriptors Of(VmSpec spec, QemuHost host, bool isTemplate)
    {
        var next = Link + 1;
        var (kernel, initramfs) = (next++, next++);
        var drives = Take(spec.Drives.Count);
        var taps = Take(isTemplate ? 0 : spec.Networks.Count);
        var vhosts = Take(host.HasVhostNet ? taps.Count : 0);
        var state = spec.Restore is not null || spec.Template is not null ? next++ : (int?)null;
        var memory = isTemplate || spec.Template is not null ? next++ : (int?)null;
        return new QemuDescriptors(kernel, initramfs, drives, taps, vhosts, state, memory);

        List<int> Take(int count) => [.. Enumerable.Range(0, count).Select(_ => next++)];
    }

    /// <summary>A name by which a program opens anew what it has open, as far as the file's mode lets its user.</summary>
    public static string PathOf(int descriptor) => string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{descriptor}");
}
