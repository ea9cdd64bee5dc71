using Ravel.Contracts.Api;
using Ravel.Vmm;
using Ravel.Vmm.Kernels;

namespace Ravel.Testing.Agent;

/// <summary>Kernels that are nothing but names. There is one of the host's, <c>host</c>, the default at first.</summary>
internal sealed class FakeGuestKernels : IGuestKernels
{
    private readonly List<InstalledKernel> _kernels = [];
    private readonly Lock _lock = new();
    private readonly Dictionary<string, int> _leases = [];

    public FakeGuestKernels() => Host = Add("host", KernelOrigin.Host) with { IsDefault = true };

    public InstalledKernel Host { get; }

    /// <summary>What was sent, in order.</summary>
    public List<byte[]> Received { get; } = [];

    /// <summary>What a build tells, in order; then it is done.</summary>
    public List<KernelBuildProgress> Steps { get; } = [];

    /// <summary>Digests that were booted, in order; empty for the default.</summary>
    public List<string> Prepared { get; } = [];

    public string? DefaultDigest { get; private set; }

    public static string DigestOf(string name) =>
        "sha256:" + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(name)));

    public InstalledKernel Add(string name, KernelOrigin origin = KernelOrigin.Added)
    {
        var kernel = new InstalledKernel(DigestOf(name), name, "6.1.0", KernelFormat.Elf, 1000, 0, origin, DateTimeOffset.UnixEpoch);
        lock (_lock)
            _kernels.Add(kernel);
        return kernel;
    }

    public Task<IReadOnlyList<InstalledKernel>> ListAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
            return Task.FromResult<IReadOnlyList<InstalledKernel>>([.. _kernels.Select(kernel => kernel with { IsDefault = IsDefault(kernel) })]);
    }

    public async Task<InstalledKernel> FindAsync(string reference, CancellationToken cancellationToken) =>
        (await ListAsync(cancellationToken)).FirstOrDefault(kernel => kernel.Name == reference || kernel.Digest == reference)
        ?? throw new KernelException(ProblemCodes.KernelNotFound, $"There is no kernel '{reference}' on this host.");

    public Task<InstalledKernel> PinAsync(string reference, CancellationToken cancellationToken) => FindAsync(reference, cancellationToken);

    public async Task<InstalledKernel> AddAsync(IAsyncEnumerable<ReadOnlyMemory<byte>> content, string? name, CancellationToken cancellationToken)
    {
        var all = new List<byte>();
        await foreach (var chunk in content.WithCancellation(cancellationToken))
            all.AddRange(chunk.Span);
        Received.Add([.. all]);
        return Add(name ?? "6.1.0");
    }

    public Task<InstalledKernel> BuildAsync(IProgress<KernelBuildProgress>? progress, CancellationToken cancellationToken)
    {
        Steps.ForEach(step => progress?.Report(step));
        return Task.FromResult(Add("small", KernelOrigin.Built));
    }

    public async Task<InstalledKernel> RemoveAsync(string reference, Func<IReadOnlySet<string>> digestsInUse, CancellationToken cancellationToken)
    {
        var kernel = await FindAsync(reference, cancellationToken);
        lock (_lock)
        {
            if (kernel.IsDefault || _leases.GetValueOrDefault(kernel.Digest) > 0 || digestsInUse().Contains(kernel.Digest))
                throw new KernelException(ProblemCodes.KernelInUse, $"Kernel {kernel.Name} is in use.");
            _kernels.RemoveAll(other => other.Digest == kernel.Digest);
        }
        return kernel;
    }

    public async Task<InstalledKernel> SetDefaultAsync(string reference, CancellationToken cancellationToken)
    {
        DefaultDigest = (await FindAsync(reference, cancellationToken)).Digest;
        return await FindAsync(reference, cancellationToken);
    }

    public async Task<IDisposable> LeaseAsync(string digest, CancellationToken cancellationToken)
    {
        await FindAsync(digest, cancellationToken);
        lock (_lock)
            _leases[digest] = _leases.GetValueOrDefault(digest) + 1;
        return new Lease(() =>
        {
            lock (_lock)
                _leases[digest]--;
        });
    }

    public async Task<PreparedKernel> PrepareAsync(string digest, CancellationToken cancellationToken)
    {
        var kernel = digest.Length == 0 ? (await ListAsync(cancellationToken)).First(IsDefault) : await FindAsync(digest, cancellationToken);
        lock (_lock)
            Prepared.Add(digest);
        return new PreparedKernel(kernel.Digest, new BootSource($"/fake/{kernel.Name}", "/fake/initramfs"));
    }

    public Task PruneAsync(IReadOnlySet<string> pathsInUse, CancellationToken cancellationToken) => Task.CompletedTask;

    private bool IsDefault(InstalledKernel kernel) => kernel.Digest == (DefaultDigest ?? DigestOf("host"));

    private sealed class Lease(Action release) : IDisposable
    {
        public void Dispose() => release();
    }
}
