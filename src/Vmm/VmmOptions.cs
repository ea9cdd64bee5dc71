namespace Ravel.Vmm;

/// <summary>Which hypervisor runs a host's VMs, and where its programs are.</summary>
public sealed record VmmOptions
{
    /// <summary><c>qemu</c>, <c>firecracker</c> or <c>fake</c>.</summary>
    public string Driver { get; init; } = "qemu";

    /// <summary>Path, or name to be looked up in PATH.</summary>
    public string Qemu { get; init; } = "qemu-system-x86_64";

    /// <summary>Path, or name to be looked up in PATH.</summary>
    public string Firecracker { get; init; } = "firecracker";

    /// <summary>Path of the jailer; null runs Firecracker without it.</summary>
    public string? Jailer { get; init; }

    /// <summary>Where jails are made; on a file system of the drives' own they are hard links instead of copies.</summary>
    public string JailDirectory { get; init; } = "/srv/jailer";

    /// <summary>
    /// First of the user and group ids jailed VMMs run under; each VM has its own, taken from its id, in the
    /// <see cref="JailIdCount"/> from here on.
    /// </summary>
    public int JailFirstId { get; init; } = 1_900_000_000;

    public int JailIdCount { get; init; } = 65_536;

    /// <summary>The device Firecracker runs guests with; it has to open before a VM is made.</summary>
    public string KvmDevice { get; init; } = "/dev/kvm";

    /// <summary><c>kvm</c> or <c>tcg</c>; null lets the driver choose what works on this host.</summary>
    public string? Accelerator { get; init; }

    /// <summary>Ravel's own control group, below the root of each hierarchy.</summary>
    public string CgroupRoot { get; init; } = "ravel";

    /// <summary>
    /// Reads RAVEL_VMM, RAVEL_QEMU, RAVEL_FIRECRACKER, RAVEL_JAILER and RAVEL_ACCELERATOR; what is not set keeps its default.
    /// </summary>
    /// <param name="variable">The environment: value of a name, or null.</param>
    public static VmmOptions FromEnvironment(Func<string, string?> variable)
    {
        var defaults = new VmmOptions();
        return new VmmOptions
        {
            Driver = Read("RAVEL_VMM") ?? defaults.Driver,
            Qemu = Read("RAVEL_QEMU") ?? defaults.Qemu,
            Firecracker = Read("RAVEL_FIRECRACKER") ?? defaults.Firecracker,
            Jailer = Read("RAVEL_JAILER"),
            Accelerator = Read("RAVEL_ACCELERATOR"),
        };

        string? Read(string name) => variable(name) is { Length: > 0 } value ? value : null;
    }
}
