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

    /// <summary>The one that is booted unless another is named; null when the host has none that can be.</summary>
    public async Task<HostKernel?> StockAsync(CancellationToken cancellationToken) =>
        _catalog.TryFind() is { } kernel ? await TryDescribeAsync(kernel, cancellationToken) : null;

    /// <exception cref="VmmException">There is none, or what is there is none; the message says what to do.</exception>
    public Task<HostKernel> RequireStockAsync(CancellationToken cancellationToken) => DescribeAsync(_catalog.Find(), cancellationToken);

    /// <summary>All, the stock kernel first. A file that is no kernel is left out.</summary>
    public async Task<IReadOnlyList<HostKernel>> AllAsync(CancellationToken cancellationToken)
    {
        var all = new List<HostKernel>();
        foreach (var kernel in _catalog.All())
        {
            if (await TryDescribeAsync(kernel, cancellationToken) is { } described)
                all.Add(described);
        }
        return all;
    }

    /// <summary>Null for a broken one: there may be others, and whoever boots this one is told why not.</summary>
    private async Task<HostKernel?> TryDescribeAsync(GuestKernel kernel, CancellationToken cancellationToken)
    {
        try
        {
            return await DescribeAsync(kernel, cancellationToken);
        }
        catch (VmmException)
        {
            return null;
        }
    }

    /// <exception cref="VmmException">It cannot be read, or is no kernel.</exception>
    private async Task<HostKernel> DescribeAsync(GuestKernel kernel, CancellationToken cancellationToken)
    {
        try
        {
            return await ReadAsync(kernel, cancellationToken);
        }
        catch (InvalidDataException e)
        {
            throw new VmmException($"{kernel.Path} is no kernel for a guest: {e.Message}", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"the kernel {kernel.Path} cannot be read: {e.Message}", e);
        }
    }

    private async Task<HostKernel> ReadAsync(GuestKernel kernel, CancellationToken cancellationToken)
    {
        var content = KernelContent.Of(kernel);
        var stamp = content.Stamp();
        lock (_known)
        {
            if (_known.TryGetValue(kernel.Path, out var known) && known.Stamp == stamp)
                return known.Kernel;
        }
        if (new FileInfo(kernel.Path).Length > KernelFile.MaxBytes)
            throw new InvalidDataException($"it is larger than {KernelFile.MaxBytes} bytes");
        var file = KernelFile.Inspect(await File.ReadAllBytesAsync(kernel.Path, cancellationToken));
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
