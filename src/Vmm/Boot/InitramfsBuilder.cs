using System.Security.Cryptography;
using System.Text;

namespace Ravel.Vmm.Boot;

/// <summary>
/// Makes the guest's initramfs: ravel-init as <c>/init</c>, the kernel's modules, and <c>/modules/list</c>, whose lines
/// <c>STAGE FILE</c> say what to load when. Written without any tool; the same inputs give the same bytes, kept under
/// their digest.
/// </summary>
/// <remarks>Not compressed: inflating costs an emulated guest more than reading 4 MB (docs/decisions/0021-guest-init.md).</remarks>
public sealed class InitramfsBuilder
{
    /// <summary>Changes with the layout, so that an upgrade does not take an old file for its own.</summary>
    private const int Layout = 1;

    private readonly string _directory;

    /// <param name="directory">Where finished files are kept; made if missing.</param>
    public InitramfsBuilder(string directory)
    {
        _directory = directory;
    }

    /// <summary>Returns the file's path. Safe to call from several processes at once.</summary>
    /// <exception cref="VmmException">An input is missing; the message names it.</exception>
    public async Task<string> BuildAsync(string initPath, GuestKernel kernel, CancellationToken cancellationToken)
    {
        if (!File.Exists(initPath))
            throw new VmmException($"the guest's init is not at {initPath}: run `./dev build`, or name it");
        var init = await File.ReadAllBytesAsync(initPath, cancellationToken);
        var modules = await ModuleFiles.ReadAsync(kernel.ModulesDirectory, cancellationToken);

        using var archive = new MemoryStream(init.Length + (1 << 20));
        Write(archive, init, modules);
        archive.Position = 0;
        var digest = Convert.ToHexStringLower(await SHA256.HashDataAsync(archive, cancellationToken));
        var path = Path.Combine(_directory, $"initramfs-{Layout}-{digest[..16]}.cpio");
        if (File.Exists(path))
            return path;

        Directory.CreateDirectory(_directory);
        var temporary = $"{path}.{Environment.ProcessId}.tmp";
        await using (var file = new FileStream(temporary, FileMode.Create, FileAccess.Write))
        {
            archive.Position = 0;
            await archive.CopyToAsync(file, cancellationToken);
            file.Flush(flushToDisk: true);
        }
        File.Move(temporary, path, overwrite: true);
        return path;
    }

    internal static void Write(Stream output, byte[] init, List<(GuestModule Module, byte[] Content)> modules)
    {
        var cpio = new CpioWriter(output);
        cpio.Directory("dev");
        // The kernel opens it for init before anything is mounted.
        cpio.CharacterDevice("dev/console", 0x180, 5, 1);
        cpio.Directory("proc");
        cpio.Directory("sys");
        cpio.Directory("modules");
        cpio.File("init", 0x1ed, init);
        var list = new StringBuilder();
        foreach (var (module, content) in modules)
        {
            cpio.File($"modules/{module.Name}.ko", 0x1a4, content);
            list.Append(module.Stage.ToString().ToLowerInvariant()).Append(" /modules/").Append(module.Name).Append(".ko\n");
        }
        cpio.File("modules/list", 0x1a4, Encoding.ASCII.GetBytes(list.ToString()));
        cpio.Complete();
    }
}
