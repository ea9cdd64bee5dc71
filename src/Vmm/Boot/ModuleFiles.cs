using Ravel.Linux.Processes;
using ZstdSharp;

namespace Ravel.Vmm.Boot;

/// <summary>Finds and reads the modules of a kernel, however its distribution packs them.</summary>
internal static class ModuleFiles
{
    private static readonly byte[] SignatureMarker = "~Module signature appended~\n"u8.ToArray();
    private const int SignatureInfoLength = 12;

    /// <summary>The modules there are files for, in load order; the others are built into the kernel.</summary>
    /// <param name="directory">Looked through to any depth; null: there are none.</param>
    public static List<(GuestModule Module, string Path)> Find(string? directory)
    {
        if (directory is null)
            return [];
        var files = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var path in Directory.EnumerateFiles(directory, "*.ko*", SearchOption.AllDirectories))
            files.TryAdd(NameOf(path), path);
        return [.. GuestModules.InLoadOrder.Where(module => files.ContainsKey(module.Name)).Select(module => (module, files[module.Name]))];
    }

    /// <summary>A module's file may be spelled with '-' or '_'; the kernel knows it with '_'.</summary>
    public static string NameOf(string path)
    {
        var file = Path.GetFileName(path);
        var end = file.IndexOf(".ko", StringComparison.Ordinal);
        return (end < 0 ? file : file[..end]).Replace('-', '_');
    }

    public static async Task<List<(GuestModule Module, byte[] Content)>> ReadAsync(string? directory, CancellationToken cancellationToken)
    {
        var found = new List<(GuestModule, byte[])>();
        foreach (var (module, path) in Find(directory))
            found.Add((module, WithoutSignature(await ReadFileAsync(path, cancellationToken))));
        return found;
    }

    private static async Task<byte[]> ReadFileAsync(string path, CancellationToken cancellationToken)
    {
        switch (Path.GetExtension(path))
        {
            case ".ko":
                return await File.ReadAllBytesAsync(path, cancellationToken);
            case ".zst":
                await using (var file = File.OpenRead(path))
                await using (var inflated = new DecompressionStream(file))
                {
                    using var content = new MemoryStream();
                    await inflated.CopyToAsync(content, cancellationToken);
                    return content.ToArray();
                }
            case ".xz":
                return await UnpackXzAsync(path, cancellationToken);
            default:
                throw new VmmException($"kernel module {path} is packed in a way Ravel cannot read: unpack it to .ko");
        }
    }

    /// <summary>.NET has no xz; whoever has such modules has the tool, because their kernel's own tools need it.</summary>
    private static async Task<byte[]> UnpackXzAsync(string path, CancellationToken cancellationToken)
    {
        var directory = Directory.CreateTempSubdirectory("ravel-module-");
        try
        {
            var copy = Path.Combine(directory.FullName, "module.ko.xz");
            File.Copy(path, copy);
            await CommandRunner.RunCheckedAsync("xz", ["-d", copy], cancellationToken: cancellationToken);
            return await File.ReadAllBytesAsync(Path.ChangeExtension(copy, null), cancellationToken);
        }
        catch (CommandException e)
        {
            throw new VmmException($"kernel module {path} could not be unpacked ({e.Message}): install xz-utils", e);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    /// <summary>
    /// The kernel checks an appended signature whether or not it insists on one, which costs a guest milliseconds per module; what
    /// vouches for these modules is that the host made the initramfs (kernel: scripts/sign-file.c, struct module_signature).
    /// </summary>
    private static byte[] WithoutSignature(byte[] module)
    {
        if (!module.AsSpan().EndsWith(SignatureMarker))
            return module;
        var info = module.Length - SignatureMarker.Length - SignatureInfoLength;
        if (info < 0)
            return module;
        var length = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(module.AsSpan(info + 8));
        return length <= info ? module[..(info - (int)length)] : module;
    }
}
