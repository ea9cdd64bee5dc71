using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Ravel.Linux.Processes;

namespace Ravel.Vmm.Qemu;

/// <summary>The files of a template: the guest's memory, the state of its devices, and what both have to be.</summary>
internal static class QemuTemplate
{
    public const string MemoryFile = "memory";
    public const string StateFile = "state";

    /// <summary>Changes when what QEMU is started with, or what a template's guest does, changes so that older templates do not fit.</summary>
    private const int Layout = 1;

    private const string ContentFile = "template.json";

    /// <summary>Digests of kernels and initramfs by path, size and time: a start does not read them anew.</summary>
    private static readonly ConcurrentDictionary<(string Path, long Bytes, DateTime Written), string> Digests = new();

    /// <summary>Makes what was written durable, and says what it is; what lacks this is no template.</summary>
    public static void Complete(string directory, SavedStream state)
    {
        var memory = Path.Combine(directory, MemoryFile);
        using (var file = File.OpenHandle(memory, FileMode.Open, FileAccess.ReadWrite))
            RandomAccess.FlushToDisk(file);
        // No more its guest's: what began as a user of that number may come again.
        FileLinks.ChangeOwner(memory, 0, 0);
        File.SetUnixFileMode(memory, UnixFileMode.UserRead);
        var info = new FileInfo(memory);
        using var content = new FileStream(Path.Combine(directory, ContentFile), FileMode.CreateNew, FileAccess.Write);
        JsonSerializer.Serialize(content, new TemplateContent(state, info.Length, info.LastWriteTimeUtc.Ticks), SavedStreamJson.Default.TemplateContent);
        content.Flush(flushToDisk: true);
    }

    /// <exception cref="VmmException">It is not what was written.</exception>
    public static void Check(string directory, int memoryMib)
    {
        try
        {
            var content = JsonSerializer.Deserialize(File.ReadAllBytes(Path.Combine(directory, ContentFile)), SavedStreamJson.Default.TemplateContent);
            var memory = new FileInfo(Path.Combine(directory, MemoryFile));
            // Small: the memory is not in it.
            var state = File.ReadAllBytes(Path.Combine(directory, StateFile));
            if (content is null
                || content.MemoryBytes != (long)memoryMib << 20
                || content.MemoryBytes != memory.Length
                || content.MemoryWritten != memory.LastWriteTimeUtc.Ticks
                || content.State != new SavedStream(state.Length, Convert.ToHexStringLower(SHA256.HashData(state))))
            {
                throw new VmmException($"template {directory} is damaged: it is not what was saved");
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new VmmException($"template {directory} cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Everything a template depends on, as a name.</summary>
    public static async Task<string> KeyAsync(VmSpec spec, string version, QemuHost host, string processor, CancellationToken cancellationToken)
    {
        string[] parts =
        [
            Layout.ToString(CultureInfo.InvariantCulture),
            version,
            host.Accelerator,
            processor,
            await DigestAsync(spec.Boot.KernelPath, cancellationToken).ConfigureAwait(false),
            await DigestAsync(spec.Boot.InitramfsPath, cancellationToken).ConfigureAwait(false),
            spec.Boot.ExtraArguments,
            string.Create(CultureInfo.InvariantCulture, $"{spec.Cpus} {spec.MemoryMib} {spec.Networks.Count}"),
            string.Concat(spec.Drives.Select(drive => drive.ReadOnly ? 'r' : 'w')),
        ];
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', parts))))[..32];
    }

    private static async Task<string> DigestAsync(string path, CancellationToken cancellationToken)
    {
        const int MaxKept = 64;
        try
        {
            var info = new FileInfo(path);
            var key = (path, info.Length, info.LastWriteTimeUtc);
            if (Digests.TryGetValue(key, out var known))
                return known;
            var digest = (await SavedStream.OfAsync(path, cancellationToken).ConfigureAwait(false)).Sha256;
            if (Digests.Count >= MaxKept)
                Digests.Clear();
            return Digests[key] = digest;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"{path} cannot be read: {e.Message}", e);
        }
    }
}
