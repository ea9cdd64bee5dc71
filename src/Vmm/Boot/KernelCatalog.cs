namespace Ravel.Vmm.Boot;

/// <summary>
/// Finds the guest kernel. A kernel is a directory with <c>vmlinuz</c> (or <c>vmlinux</c>) and, unless everything is built
/// in, <c>modules/</c>. Looked for, in this order:
/// <list type="number">
/// <item>what the operator named: such a directory, one that holds such directories, or a kernel file;</item>
/// <item><c>../kernel/*</c> beside the executable's directory;</item>
/// <item><c>/usr/lib/ravel/kernel/*</c>;</item>
/// <item>the host's own <c>/boot/vmlinuz-*-cloud-amd64</c> with <c>/lib/modules</c>.</item>
/// </list>
/// Of several in one place the newest release is taken: of those whose directory is named as releases are, with a digit first.
/// Another (<c>small</c>) is for whoever names it, in place of a path.
/// </summary>
public sealed class KernelCatalog
{
    private readonly string? _named;
    private readonly string _executableDirectory;
    private readonly string _root;

    /// <param name="named">The operator's choice, or null.</param>
    /// <param name="executableDirectory">Directory of the running program; null = <see cref="AppContext.BaseDirectory"/>.</param>
    /// <param name="root">What stands for <c>/</c>.</param>
    public KernelCatalog(string? named = null, string? executableDirectory = null, string root = "/")
    {
        _named = string.IsNullOrEmpty(named) ? null : named;
        _executableDirectory = executableDirectory ?? AppContext.BaseDirectory;
        _root = root;
    }

    /// <exception cref="VmmException">There is none; the message says where was looked and what to do.</exception>
    public GuestKernel Find() => TryFind() ?? throw new VmmException(
        _named is not null
            ? $"no guest kernel at {_named}: name a directory with vmlinuz (and modules/), a kernel file, or a directory in {string.Join(" or ", Directories)}"
            : $"no guest kernel in {string.Join(", ", Directories)} or {BootDirectory}: run `./dev setup`, or " +
              "`apt-get install linux-image-cloud-amd64`, or name one");

    /// <summary>Null when there is none.</summary>
    public GuestKernel? TryFind()
    {
        // A name that leads nowhere is a mistake to be told of, not to be made good with another kernel.
        if (_named is not null)
        {
            return File.Exists(_named) ? FromFile(_named)
                : FromDirectory(_named) ?? Newest(_named) ?? Directories.Select(place => FromDirectory(Path.Combine(place, _named))).OfType<GuestKernel>().FirstOrDefault();
        }
        foreach (var directory in Directories)
        {
            if (Newest(directory) is { } kernel)
                return kernel;
        }
        return FromHost();
    }

    /// <summary>Every kernel there is, the one of <see cref="TryFind"/> first.</summary>
    public IReadOnlyList<GuestKernel> All()
    {
        string[] places = _named is null ? Directories : [_named, .. Directories];
        var others = places.Where(Directory.Exists).SelectMany(Directory.EnumerateDirectories).Select(FromDirectory);
        return [.. new[] { TryFind() }.Concat(others.OrderBy(kernel => kernel?.Path, StringComparer.Ordinal)).OfType<GuestKernel>().DistinctBy(kernel => kernel.Path)];
    }

    private string[] Directories =>
        [Path.GetFullPath(Path.Combine(_executableDirectory, "..", "kernel")), Path.Combine(_root, "usr/lib/ravel/kernel")];

    private string BootDirectory => Path.Combine(_root, "boot");

    private static GuestKernel? Newest(string directory) =>
        Directory.Exists(directory)
            ? Newest(Directory.EnumerateDirectories(directory).Select(FromDirectory))
            : null;

    private static GuestKernel? Newest(IEnumerable<GuestKernel?> kernels) =>
        kernels.OfType<GuestKernel>()
            .OrderByDescending(kernel => char.IsAsciiDigit(kernel.Release[0]))
            .ThenByDescending(kernel => kernel.Release, ReleaseComparer.Instance)
            .FirstOrDefault();

    /// <summary>The kernel of one directory; null when it has none.</summary>
    internal static GuestKernel? FromDirectory(string directory)
    {
        foreach (var name in (string[])["vmlinuz", "vmlinux"])
        {
            var path = Path.Combine(directory, name);
            if (File.Exists(path))
                return FromFile(path);
        }
        return null;
    }

    private static GuestKernel FromFile(string path)
    {
        path = Path.GetFullPath(path);
        var directory = Path.GetDirectoryName(path)!;
        var modules = Path.Combine(directory, "modules");
        return new GuestKernel(Path.GetFileName(directory), path, Directory.Exists(modules) ? modules : null);
    }

    private GuestKernel? FromHost()
    {
        const string Prefix = "vmlinuz-";
        if (!Directory.Exists(BootDirectory))
            return null;
        return Newest(Directory.EnumerateFiles(BootDirectory, Prefix + "*-cloud-amd64").Select(path =>
        {
            var release = Path.GetFileName(path)[Prefix.Length..];
            var modules = Path.Combine(_root, "lib/modules", release);
            return Directory.Exists(modules) ? new GuestKernel(release, path, modules) : null;
        }));
    }

    /// <summary>Orders 6.1.0-9 before 6.1.0-56 and 6.1 before 6.12.</summary>
    private sealed class ReleaseComparer : IComparer<string>
    {
        public static ReleaseComparer Instance { get; } = new();

        public int Compare(string? x, string? y)
        {
            var (a, b) = (Parts(x), Parts(y));
            for (var i = 0; i < Math.Min(a.Length, b.Length); i++)
            {
                var order = ulong.TryParse(a[i], out var m) && ulong.TryParse(b[i], out var n)
                    ? m.CompareTo(n)
                    : string.CompareOrdinal(a[i], b[i]);
                if (order != 0)
                    return order;
            }
            return a.Length.CompareTo(b.Length);
        }

        private static string[] Parts(string? release) => (release ?? "").Split('.', '-', '+', '_');
    }
}
