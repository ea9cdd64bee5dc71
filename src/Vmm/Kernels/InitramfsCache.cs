using System.Globalization;
using Ravel.Vmm.Boot;

namespace Ravel.Vmm.Kernels;

/// <summary>The initramfs of each kernel, made when the kernel is first booted or the init has changed. Not safe for concurrent use.</summary>
internal sealed class InitramfsCache
{
    private readonly string _directory;
    private readonly string _initPath;
    private readonly InitramfsBuilder _builder;
    private readonly Dictionary<string, (string Init, string Path)> _made = new(StringComparer.Ordinal);

    /// <param name="directory">Where they are kept.</param>
    /// <param name="initPath">ravel-init; null = beside the executable.</param>
    public InitramfsCache(string directory, string? initPath)
    {
        _directory = directory;
        _initPath = initPath ?? Path.Combine(AppContext.BaseDirectory, "ravel-init");
        _builder = new InitramfsBuilder(directory);
    }

    /// <exception cref="VmmException">The init is missing.</exception>
    public async Task<string> GetAsync(string digest, GuestKernel kernel, CancellationToken cancellationToken)
    {
        var init = new FileInfo(_initPath);
        var stamp = init.Exists ? string.Create(CultureInfo.InvariantCulture, $"{init.Length} {init.LastWriteTimeUtc.Ticks}") : "";
        if (_made.TryGetValue(digest, out var made) && made.Init == stamp && File.Exists(made.Path))
            return made.Path;
        var path = await _builder.BuildAsync(_initPath, kernel, cancellationToken);
        _made[digest] = (stamp, path);
        return path;
    }

    /// <summary>
    /// Removes what was made for other inits and kernels, and kernels that were unpacked: both are made again when they are
    /// wanted. Before anything is launched: a VMM on its way may be about to open one.
    /// </summary>
    public void Prune(IReadOnlySet<string> pathsInUse)
    {
        if (!Directory.Exists(_directory))
            return;
        var current = _made.Values.Select(made => made.Path).ToHashSet(StringComparer.Ordinal);
        foreach (var path in Directory.EnumerateFiles(_directory))
        {
            var name = Path.GetFileName(path);
            var isOurs = name.StartsWith("initramfs-", StringComparison.Ordinal) || name.StartsWith("vmlinux-", StringComparison.Ordinal);
            if (isOurs && !current.Contains(path) && !pathsInUse.Contains(path))
                File.Delete(path);
        }
    }
}
