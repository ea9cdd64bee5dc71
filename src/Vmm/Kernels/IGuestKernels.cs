using Ravel.Vmm.Boot;

namespace Ravel.Vmm.Kernels;

/// <summary>
/// The kernels guests of this host can boot: those it came with, and those that were added or built. Each is known by the
/// digest of its content and has a name; one is the default.
/// </summary>
public interface IGuestKernels
{
    /// <summary>The reference of the host's own kernel, whatever its release: the default until another is chosen.</summary>
    const string Stock = "stock";

    /// <summary>All of them, the default first, then by name.</summary>
    Task<IReadOnlyList<InstalledKernel>> ListAsync(CancellationToken cancellationToken);

    /// <summary>
    /// The kernel of that name, digest, unique prefix of a digest (at least 4 digits), <c>NAME@DIGEST</c> (the digest counts) or
    /// <see cref="Stock"/>.
    /// </summary>
    /// <exception cref="KernelException"><c>kernel-not-found</c>.</exception>
    Task<InstalledKernel> FindAsync(string reference, CancellationToken cancellationToken);

    /// <summary>As <see cref="FindAsync"/>, for a machine that will want that very kernel again: one of the host's is copied.</summary>
    /// <exception cref="KernelException"><c>kernel-not-found</c>.</exception>
    Task<InstalledKernel> PinAsync(string reference, CancellationToken cancellationToken);

    /// <summary>
    /// Takes a kernel: a bzImage or an uncompressed ELF, or a tar with <c>vmlinuz</c> or <c>vmlinux</c> and <c>modules/*.ko</c>.
    /// The same content again is the same kernel, under the new name if one is given.
    /// </summary>
    /// <param name="content">Read to its end.</param>
    /// <param name="name">Null: its release, or the name it has.</param>
    /// <param name="cancellationToken">Leaves nothing behind.</param>
    /// <exception cref="KernelException"><c>kernel-invalid</c>, <c>name-taken</c>, <c>invalid-request</c>.</exception>
    Task<InstalledKernel> AddAsync(IAsyncEnumerable<ReadOnlyMemory<byte>> content, string? name, CancellationToken cancellationToken);

    /// <summary>Builds the small kernel, unless the same was built before. One build at a time; others wait and share it.</summary>
    /// <exception cref="KernelException"><c>kernel-build-failed</c>.</exception>
    Task<InstalledKernel> BuildAsync(IProgress<KernelBuildProgress>? progress, CancellationToken cancellationToken);

    /// <param name="reference">As for <see cref="FindAsync"/>.</param>
    /// <param name="digestsInUse">Asked while no machine can begin to use another.</param>
    /// <param name="cancellationToken">Before anything is removed.</param>
    /// <exception cref="KernelException"><c>kernel-not-found</c>; <c>kernel-in-use</c>: also the default, and one of the host's.</exception>
    Task<InstalledKernel> RemoveAsync(string reference, Func<IReadOnlySet<string>> digestsInUse, CancellationToken cancellationToken);

    /// <exception cref="KernelException"><c>kernel-not-found</c>.</exception>
    Task<InstalledKernel> SetDefaultAsync(string reference, CancellationToken cancellationToken);

    /// <summary>Keeps a kernel from being removed until disposed: while a machine that names it is written down.</summary>
    /// <exception cref="KernelException"><c>kernel-not-found</c>.</exception>
    Task<IDisposable> LeaseAsync(string digest, CancellationToken cancellationToken);

    /// <summary>What a VMM boots. Disposed once it has been launched.</summary>
    /// <param name="digest">Empty: the default.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="KernelException"><c>kernel-not-found</c>.</exception>
    /// <exception cref="VmmException">There is no kernel, or no init.</exception>
    Task<PreparedKernel> PrepareAsync(string digest, CancellationToken cancellationToken);

    /// <summary>Removes files made for kernels or inits that nobody boots any more.</summary>
    /// <param name="pathsInUse">Kept in any case: what an instance booted from.</param>
    /// <param name="cancellationToken">Between two files.</param>
    Task PruneAsync(IReadOnlySet<string> pathsInUse, CancellationToken cancellationToken);
}

/// <summary>Where a kernel comes from.</summary>
public enum KernelOrigin
{
    /// <summary>Found on the host; Ravel never removes it.</summary>
    Host,

    Added,

    Built,
}

/// <summary>A kernel as it stands in the list.</summary>
/// <param name="Digest"><c>sha256:…</c> of the kernel's file; with modules, of the list of all its files and their digests.</param>
/// <param name="Name">Unique on the host.</param>
/// <param name="Release">What the kernel calls itself, e.g. <c>6.1.0-56-cloud-amd64</c>.</param>
/// <param name="Format">How the file is packed.</param>
/// <param name="Bytes">Of kernel and modules.</param>
/// <param name="Modules">How many modules a guest loads with it; 0 when everything is built in.</param>
public sealed record InstalledKernel(
    string Digest,
    string Name,
    string Release,
    KernelFormat Format,
    long Bytes,
    int Modules,
    KernelOrigin Origin,
    DateTimeOffset CreatedAt)
{
    public bool IsDefault { get; init; }
}

/// <summary>What is to be booted, kept until disposed.</summary>
public sealed class PreparedKernel(string digest, BootSource boot, IDisposable? lease = null) : IDisposable
{
    public string Digest { get; } = digest;

    public BootSource Boot { get; } = boot;

    /// <summary>What a guest needs to boot it; null = that is not known.</summary>
    public BootMemory? Memory { get; init; }

    public void Dispose() => lease?.Dispose();
}

/// <summary>How far a build is.</summary>
/// <param name="Phase"><c>wait</c>, <c>source</c>, <c>unpack</c>, <c>configure</c>, <c>compile</c>, <c>store</c>.</param>
/// <param name="Done">Steps of the phase that are done.</param>
/// <param name="Total">About how many there are; null when that is not known.</param>
public sealed record KernelBuildProgress(string Phase, int Done = 0, int? Total = null);
