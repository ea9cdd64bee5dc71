using Ravel.Contracts.Api;
using Ravel.Vmm.Boot;

namespace Ravel.Vmm.Kernels;

/// <summary>
/// The host's kernels and Ravel's own as one list. Changes take turns; a lease keeps a kernel while it is not yet written down
/// anywhere who uses it.
/// </summary>
public sealed class GuestKernels : IGuestKernels, IDisposable
{
    private readonly HostKernels _host;
    private readonly KernelStore _store;
    private readonly KernelBuilder _builder;
    private readonly InitramfsCache _initramfs;
    private readonly SemaphoreSlim _changing = new(1, 1);
    private readonly SemaphoreSlim _building = new(1, 1);
    private readonly Dictionary<string, int> _leases = new(StringComparer.Ordinal);

    /// <param name="catalog">Where the host's own are looked for.</param>
    /// <param name="dataDirectory">Kernels are kept in <c>kernels/</c> below it, what is made for booting them in <c>boot/</c>.</param>
    /// <param name="initPath">ravel-init; null = beside the executable.</param>
    /// <param name="time">Dates what is added.</param>
    /// <param name="builder">Null: Debian's kernel source, built below <paramref name="dataDirectory"/>.</param>
    public GuestKernels(KernelCatalog catalog, string dataDirectory, string? initPath, TimeProvider time, KernelBuilder? builder = null)
    {
        _host = new HostKernels(catalog);
        _store = new KernelStore(Path.Combine(dataDirectory, "kernels"), time);
        _builder = builder ?? new KernelBuilder(new DebianKernelSource(), Path.Combine(dataDirectory, "kernel-build"));
        _initramfs = new InitramfsCache(Path.Combine(dataDirectory, "boot"), initPath);
    }

    public async Task<IReadOnlyList<InstalledKernel>> ListAsync(CancellationToken cancellationToken)
    {
        using var turn = await TurnAsync(cancellationToken);
        return await AllAsync(cancellationToken);
    }

    public async Task<InstalledKernel> FindAsync(string reference, CancellationToken cancellationToken)
    {
        using var turn = await TurnAsync(cancellationToken);
        return await ResolveAsync(reference, cancellationToken);
    }

    public async Task<InstalledKernel> PinAsync(string reference, CancellationToken cancellationToken)
    {
        using var turn = await TurnAsync(cancellationToken);
        var kernel = await ResolveAsync(reference, cancellationToken);
        await KeepAsync(kernel, cancellationToken);
        return kernel;
    }

    public async Task<InstalledKernel> AddAsync(IAsyncEnumerable<ReadOnlyMemory<byte>> content, string? name, CancellationToken cancellationToken)
    {
        if (name is not null && !KernelReference.IsValid(name))
        {
            throw new KernelException(
                ProblemCodes.InvalidRequest, $"A kernel's name is 1 to {KernelReference.MaxLength} letters, digits, '.', '-', '_' and '+', and not '{IGuestKernels.Stock}'.");
        }
        InstalledKernel added = null!;
        await InTemporaryAsync(async directory =>
        {
            await KernelUpload.ReceiveAsync(content, directory, cancellationToken);
            var kernel = await _store.InspectAsync(directory, KernelOrigin.Added, cancellationToken);
            using var turn = await TurnAsync(cancellationToken);
            added = (await CommitAsync(directory, kernel, name, cancellationToken)).Shown();
        });
        return added;
    }

    public async Task<InstalledKernel> BuildAsync(IProgress<KernelBuildProgress>? progress, CancellationToken cancellationToken)
    {
        if (!_building.Wait(0, CancellationToken.None))
        {
            progress?.Report(new KernelBuildProgress("wait"));
            await _building.WaitAsync(cancellationToken);
        }
        try
        {
            var plan = await _builder.PlanAsync(cancellationToken);
            StoredKernel? built;
            using (await TurnAsync(cancellationToken))
                built = _store.All.FirstOrDefault(kernel => kernel.BuildKey == plan.Key);
            if (built is not null)
                return built.Shown();
            await InTemporaryAsync(async directory =>
            {
                await _builder.BuildAsync(plan, directory, progress, cancellationToken);
                progress?.Report(new KernelBuildProgress("store"));
                var kernel = await _store.InspectAsync(directory, KernelOrigin.Built, cancellationToken) with { BuildKey = plan.Key };
                using var turn = await TurnAsync(cancellationToken);
                // A kernel of the host's keeps its name, and after minutes of building this one is not refused for that.
                var name = FreeName(KernelBuilder.Name, kernel.Digest, await MakeRoomAsync(KernelBuilder.Name, kernel.Digest, cancellationToken));
                built = await CommitAsync(directory, kernel, name, cancellationToken);
            });
            _builder.CleanUp();
            return built!.Shown();
        }
        finally
        {
            _building.Release();
        }
    }

    public async Task<InstalledKernel> RemoveAsync(string reference, Func<IReadOnlySet<string>> digestsInUse, CancellationToken cancellationToken)
    {
        using var turn = await TurnAsync(cancellationToken);
        var kernel = await ResolveAsync(reference, cancellationToken);
        if (_store.Find(kernel.Digest) is null)
            throw InUse(kernel, "is the host's own; remove its files or package there");
        if (kernel.IsDefault)
            throw InUse(kernel, $"is the default; choose another first, such as '{IGuestKernels.Stock}'");
        lock (_leases)
        {
            if (_leases.ContainsKey(kernel.Digest) || digestsInUse().Contains(kernel.Digest))
                throw InUse(kernel, "is used by a machine; remove the machine first");
        }
        _store.Remove(kernel.Digest);
        return kernel;
    }

    public async Task<InstalledKernel> SetDefaultAsync(string reference, CancellationToken cancellationToken)
    {
        using var turn = await TurnAsync(cancellationToken);
        var kernel = await ResolveAsync(reference, cancellationToken);
        var stock = await _host.StockAsync(cancellationToken);
        // The host's own is followed from release to release; any other is meant as it is now.
        if (kernel.Digest == stock?.Shown.Digest)
        {
            _store.SetDefault(null);
        }
        else
        {
            await KeepAsync(kernel, cancellationToken);
            _store.SetDefault(kernel.Digest);
        }
        return kernel with { IsDefault = true };
    }

    public async Task<IDisposable> LeaseAsync(string digest, CancellationToken cancellationToken)
    {
        using var turn = await TurnAsync(cancellationToken);
        var kernel = await ResolveAsync(digest, cancellationToken);
        return Lease(kernel.Digest);
    }

    public async Task<PreparedKernel> PrepareAsync(string digest, CancellationToken cancellationToken)
    {
        using var turn = await TurnAsync(cancellationToken);
        return await PrepareInTurnAsync(digest, cancellationToken);
    }

    public async Task PruneAsync(IReadOnlySet<string> pathsInUse, CancellationToken cancellationToken)
    {
        using var turn = await TurnAsync(cancellationToken);
        try
        {
            (await PrepareInTurnAsync("", cancellationToken)).Dispose();
        }
        catch (VmmException)
        {
            // Without a kernel or an init there is nothing to keep for the next start.
        }
        _initramfs.Prune(pathsInUse);
    }

    public void Dispose()
    {
        _changing.Dispose();
        _building.Dispose();
    }

    private async Task<PreparedKernel> PrepareInTurnAsync(string digest, CancellationToken cancellationToken)
    {
        var (found, guest) = await GuestOfAsync(digest, cancellationToken);
        var lease = Lease(found);
        try
        {
            var boot = new BootSource(guest.Path, await _initramfs.GetAsync(found, guest, cancellationToken));
            return new PreparedKernel(found, boot, lease) { Memory = BootMemory.Of(boot) };
        }
        catch
        {
            lease.Dispose();
            throw;
        }
    }

    private async Task<(string Digest, GuestKernel Guest)> GuestOfAsync(string digest, CancellationToken cancellationToken)
    {
        var wanted = digest.Length > 0 ? digest : _store.DefaultDigest;
        if (wanted is null)
        {
            var stock = await _host.RequireStockAsync(cancellationToken);
            return (stock.Shown.Digest, stock.Guest);
        }
        if (_store.Find(wanted) is { } own)
            return (own.Digest, _store.GuestOf(own));
        return (await _host.AllAsync(cancellationToken)).FirstOrDefault(kernel => kernel.Shown.Digest == wanted) is { } host
            ? (wanted, host.Guest)
            : throw NotFound(wanted);
    }

    private async Task<List<InstalledKernel>> AllAsync(CancellationToken cancellationToken)
    {
        var host = await _host.AllAsync(cancellationToken);
        var defaultDigest = _store.DefaultDigest ?? (await _host.StockAsync(cancellationToken))?.Shown.Digest;
        return
        [
            .. _store.All.Select(kernel => kernel.Shown())
                .Concat(host.Select(kernel => kernel.Shown))
                .DistinctBy(kernel => kernel.Digest)
                .Select(kernel => kernel with { IsDefault = kernel.Digest == defaultDigest })
                .OrderByDescending(kernel => kernel.IsDefault)
                .ThenBy(kernel => kernel.Name, StringComparer.Ordinal),
        ];
    }

    private async Task<InstalledKernel> ResolveAsync(string reference, CancellationToken cancellationToken)
    {
        var all = await AllAsync(cancellationToken);
        if (reference == IGuestKernels.Stock)
        {
            var stock = await RequireStockAsync(cancellationToken);
            return all.First(kernel => kernel.Digest == stock.Shown.Digest);
        }
        var at = reference.IndexOf('@', StringComparison.Ordinal);
        if (at >= 0)
            return all.Find(kernel => kernel.Digest == reference[(at + 1)..]) ?? throw NotFound(reference);
        if (all.Find(kernel => kernel.Name == reference || kernel.Digest == reference) is { } exact)
            return exact;
        return all.FindAll(kernel => KernelReference.IsPrefix(reference, kernel.Digest)) switch
        {
            [var only] => only,
            [] => throw NotFound(reference),
            var several => throw new KernelException(
                ProblemCodes.KernelNotFound, $"'{reference}' is the beginning of {several.Count} kernels; write more of it."),
        };
    }

    private async Task<HostKernel> RequireStockAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await _host.RequireStockAsync(cancellationToken);
        }
        catch (VmmException e)
        {
            throw new KernelException(ProblemCodes.KernelNotFound, $"The host's own kernel cannot be used: {e.Message}", e);
        }
    }

    /// <summary>In turn: names are compared with all others.</summary>
    private async Task<StoredKernel> CommitAsync(string directory, StoredKernel kernel, string? name, CancellationToken cancellationToken)
    {
        var all = await AllAsync(cancellationToken);
        var existing = _store.Find(kernel.Digest);
        var wanted = name ?? existing?.Name ?? FreeName(kernel.Name, kernel.Digest, all);
        if (all.Find(other => other.Name == wanted && other.Digest != kernel.Digest) is { } taken)
        {
            throw new KernelException(
                ProblemCodes.NameTaken, $"The name '{wanted}' is kernel {taken.Digest}'s; give another, or remove that one first.");
        }
        if (existing is not null)
        {
            var updated = existing with { Name = wanted, BuildKey = kernel.BuildKey ?? existing.BuildKey };
            if (updated != existing)
                _store.Update(updated);
            return updated;
        }
        kernel = kernel with { Name = wanted };
        _store.Commit(directory, kernel);
        return kernel;
    }

    /// <summary>The host may replace its own; a copy stays what it is.</summary>
    private async Task KeepAsync(InstalledKernel kernel, CancellationToken cancellationToken)
    {
        if (_store.Find(kernel.Digest) is not null)
            return;
        var host = (await _host.AllAsync(cancellationToken)).First(candidate => candidate.Shown.Digest == kernel.Digest);
        await InTemporaryAsync(async directory =>
        {
            await host.Content.CopyToAsync(directory, cancellationToken);
            var copy = await _store.InspectAsync(directory, KernelOrigin.Host, cancellationToken);
            if (copy.Digest != kernel.Digest)
                throw NotFound(kernel.Digest);
            _store.Commit(directory, copy with { Name = kernel.Name });
        });
    }

    /// <summary>A newer build takes the name; the older keeps its machines, under a name that says which it is.</summary>
    /// <returns>All kernels, afterwards.</returns>
    private async Task<List<InstalledKernel>> MakeRoomAsync(string name, string digest, CancellationToken cancellationToken)
    {
        var all = await AllAsync(cancellationToken);
        if (_store.All.FirstOrDefault(kernel => kernel.Name == name && kernel.Digest != digest) is not { } older)
            return all;
        _store.Update(older with { Name = Distinct(name, older.Digest, all) });
        return await AllAsync(cancellationToken);
    }

    private static string FreeName(string name, string digest, List<InstalledKernel> all) =>
        IsTaken(name, digest, all) ? Distinct(name, digest, all) : name;

    /// <summary>The name with as much of the digest as makes it nobody else's.</summary>
    private static string Distinct(string name, string digest, List<InstalledKernel> all)
    {
        for (var digits = 8; ; digits *= 2)
        {
            var kept = Math.Min(name.Length, KernelReference.MaxLength - digits - 1);
            var distinct = $"{name.AsSpan(0, kept)}-{digest.AsSpan(KernelReference.DigestPrefix.Length, digits)}";
            if (digits == 32 || !IsTaken(distinct, digest, all))
                return distinct;
        }
    }

    private static bool IsTaken(string name, string digest, List<InstalledKernel> all) =>
        all.Exists(kernel => kernel.Name == name && kernel.Digest != digest);

    private async Task InTemporaryAsync(Func<string, Task> use)
    {
        var directory = _store.MakeTemporary();
        try
        {
            await use(directory);
        }
        finally
        {
            if (Directory.Exists(directory))
                Directory.Delete(directory, recursive: true);
        }
    }

    private Releaser Lease(string digest)
    {
        lock (_leases)
            _leases[digest] = _leases.GetValueOrDefault(digest) + 1;
        return new Releaser(() =>
        {
            lock (_leases)
            {
                if (--_leases[digest] == 0)
                    _leases.Remove(digest);
            }
        });
    }

    private async Task<Releaser> TurnAsync(CancellationToken cancellationToken)
    {
        await _changing.WaitAsync(cancellationToken);
        return new Releaser(() => _changing.Release());
    }

    private static KernelException NotFound(string reference) =>
        new(ProblemCodes.KernelNotFound, $"There is no kernel '{reference}' on this host; `ravel kernel ls` lists what there is.");

    private static KernelException InUse(InstalledKernel kernel, string why) =>
        new(ProblemCodes.KernelInUse, $"Kernel {kernel.Name} {why}.");

    private sealed class Releaser(Action release) : IDisposable
    {
        private Action? _release = release;

        public void Dispose() => Interlocked.Exchange(ref _release, null)?.Invoke();
    }
}
