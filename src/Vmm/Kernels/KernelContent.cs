using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Ravel.Vmm.Boot;

namespace Ravel.Vmm.Kernels;

/// <summary>The files of a kernel that a guest has to do with: itself, and the modules its guests load.</summary>
internal sealed record KernelContent(string KernelPath, IReadOnlyList<(GuestModule Module, string Path)> Modules)
{
    public const string ModulesDirectory = "modules";

    public static KernelContent Of(GuestKernel kernel) => new(kernel.Path, ModuleFiles.Find(kernel.ModulesDirectory));

    /// <summary>What the files were when they were last looked at: changes whenever one of them is replaced.</summary>
    public string Stamp()
    {
        var stamp = new StringBuilder();
        foreach (var path in Modules.Select(module => module.Path).Prepend(KernelPath))
        {
            var file = new FileInfo(path);
            stamp.Append(CultureInfo.InvariantCulture, $"{path} {file.Length} {file.LastWriteTimeUtc.Ticks}\n");
        }
        return stamp.ToString();
    }

    /// <summary>
    /// Of the kernel's file; with modules, of the list of all files, each a line <c>DIGEST NAME</c>, where names do not depend
    /// on how a distribution lays its files out.
    /// </summary>
    public async Task<(string Digest, long Bytes)> DigestAsync(CancellationToken cancellationToken)
    {
        var (kernel, bytes) = await HashAsync(KernelPath, cancellationToken);
        if (Modules.Count == 0)
            return (KernelReference.DigestPrefix + kernel, bytes);
        var list = new StringBuilder().Append(kernel).Append(" kernel\n");
        foreach (var (module, path) in Modules)
        {
            var (digest, length) = await HashAsync(path, cancellationToken);
            list.Append(digest).Append(' ').Append(FileNameOf(module, path)).Append('\n');
            bytes += length;
        }
        return (KernelReference.DigestPrefix + Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(list.ToString()))), bytes);
    }

    /// <summary>Copies all into an empty directory, in the layout <see cref="KernelCatalog"/> knows.</summary>
    public async Task CopyToAsync(string directory, CancellationToken cancellationToken)
    {
        await CopyAsync(KernelPath, Path.Combine(directory, Path.GetFileName(KernelPath) == "vmlinux" ? "vmlinux" : "vmlinuz"), cancellationToken);
        if (Modules.Count == 0)
            return;
        Directory.CreateDirectory(Path.Combine(directory, ModulesDirectory));
        foreach (var (module, path) in Modules)
            await CopyAsync(path, Path.Combine(directory, ModulesDirectory, FileNameOf(module, path)), cancellationToken);
    }

    private static string FileNameOf(GuestModule module, string path)
    {
        var file = Path.GetFileName(path);
        return module.Name + file[file.IndexOf(".ko", StringComparison.Ordinal)..];
    }

    private static async Task<(string Digest, long Bytes)> HashAsync(string path, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 17, FileOptions.SequentialScan);
        return (Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken)), file.Length);
    }

    private static async Task CopyAsync(string from, string to, CancellationToken cancellationToken)
    {
        await using var source = File.OpenRead(from);
        await using var target = new FileStream(to, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 17);
        await source.CopyToAsync(target, cancellationToken);
    }
}
