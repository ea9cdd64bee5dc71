namespace Ravel.Vmm.Boot;

/// <summary>What guests of this host boot: finds kernel and init, and makes the initramfs when either changed.</summary>
public sealed class GuestBoot
{
    private readonly KernelCatalog _kernels;
    private readonly InitramfsBuilder _initramfs;
    private readonly string _initPath;

    /// <param name="kernels">Where kernels are looked for.</param>
    /// <param name="dataDirectory">Where the initramfs is kept, in <c>boot/</c>.</param>
    /// <param name="initPath">ravel-init; null = beside the executable.</param>
    public GuestBoot(KernelCatalog kernels, string dataDirectory, string? initPath = null)
    {
        _kernels = kernels;
        _initramfs = new InitramfsBuilder(Path.Combine(dataDirectory, "boot"));
        _initPath = initPath ?? Path.Combine(AppContext.BaseDirectory, "ravel-init");
    }

    /// <exception cref="VmmException">Kernel or init is missing; the message says what to do.</exception>
    public async Task<BootSource> PrepareAsync(CancellationToken cancellationToken)
    {
        var kernel = _kernels.Find();
        return new BootSource(kernel.Path, await _initramfs.BuildAsync(_initPath, kernel, cancellationToken));
    }
}
