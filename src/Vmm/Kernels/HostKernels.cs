using Ravel.Vmm.Boot;

namespace Ravel.Vmm.Kernels;

/// <summary>The kernels of <see cref="KernelCatalog"/> with their digests, which are taken again when a file changes.</summary>
internal sealed class HostKernels
{
    private readonly KernelCatalog _catalog;
    private readonly Dictionary<string, (string Stamp, HostKernel Kernel)> _known = new(StringComparer.Ordinal);

    public HostKernels(KernelCatalog catalog)
    {
        _catalog = catalog;
    }

    /// <summary>The one that is booted unless another is named; null when the host has none.</summary>
    public async Task<HostKernel?> StockAsync(CancellationToken cancellationToken) =>
        _catalog.TryFind() is { } kernel ? await DescribeAsync(kernel, cancellationToken) : null;

    /// <exception cref="VmmException">There is none; the message says what to do.</exception>
    public Task<HostKernel> RequireStockAsync(CancellationToken cancellationToken) => DescribeAsync(_catalog.Find(), cancellationToken);

    /// <summary>All, the stock kernel first. A file that is no kernel is left out.</summary>
    public async Task<IReadOnlyList<HostKernel>> AllAsync(CancellationToken cancellationToken)
    {
        var all = new List<HostKernel>();
        foreach (var kernel in _catalog.All())
        {
            try
            {
                all.Add(await DescribeAsync(kernel, cancellationToken));
            }
            catch (Exception e) when (e is VmmException or IOException)
            {
                // Another one that can be read may be there; whoever boots this one is told.
            }
        }
        return all;
    }

    private async Task<HostKernel> DescribeAsync(GuestKernel kernel, CancellationToken cancellationToken)
    {
        var content = KernelContent.Of(kernel);
        var stamp = content.Stamp();
        lock (_known)
        {
            if (_known.TryGetValue(kernel.Path, out var known) && known.Stamp == stamp)
                return known.Kernel;
        }
        KernelFile file;
        try
        {
            file = KernelFile.Inspect(await File.ReadAllBytesAsync(kernel.Path, cancellationToken));
        }
        catch (InvalidDataException e)
        {
            throw new VmmException($"{kernel.Path} is no kernel for a guest: {e.Message}", e);
        }
        var (digest, bytes) = await content.DigestAsync(cancellationToken);
        var described = new HostKernel(
            kernel,
            content,
            new InstalledKernel(
                digest,
                KernelReference.From(kernel.Release),
                file.Release,
                file.Format,
                bytes,
                content.Modules.Count,
                KernelOrigin.Host,
                File.GetLastWriteTimeUtc(kernel.Path)));
        lock (_known)
            _known[kernel.Path] = (stamp, described);
        return described;
    }
}

internal sealed record HostKernel(GuestKernel Guest, KernelContent Content, InstalledKernel Shown);
