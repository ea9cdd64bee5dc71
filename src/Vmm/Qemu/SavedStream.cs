using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Ravel.Vmm.Qemu;

/// <summary>What a saved VM's file has to be, kept beside it: memory that rotted on the disk is not run.</summary>
internal sealed record SavedStream(long Bytes, string Sha256)
{
    private const string FileName = "qemu.json";

    public void Write(string directory)
    {
        using var file = new FileStream(Path.Combine(directory, FileName), FileMode.CreateNew, FileAccess.Write);
        JsonSerializer.Serialize(file, this, SavedStreamJson.Default.SavedStream);
        file.Flush(flushToDisk: true);
    }

    /// <exception cref="VmRestoreException">The snapshot is not what was saved.</exception>
    /// <exception cref="VmmException">It cannot be read.</exception>
    public static async Task CheckAsync(string directory, CancellationToken cancellationToken)
    {
        var path = Path.Combine(directory, QemuDriver.SnapshotFile);
        try
        {
            var saved = JsonSerializer.Deserialize(await File.ReadAllBytesAsync(Path.Combine(directory, FileName), cancellationToken).ConfigureAwait(false), SavedStreamJson.Default.SavedStream);
            if (saved is null || await OfAsync(path, cancellationToken).ConfigureAwait(false) != saved)
                throw new VmRestoreException($"snapshot {path} is damaged: it is not what was saved");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException or JsonException)
        {
            throw new VmRestoreException($"snapshot {path} is not whole: {e.Message}", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"snapshot {path} cannot be read: {e.Message}", e);
        }
    }

    /// <summary>A file as it is now.</summary>
    public static async Task<SavedStream> OfAsync(string path, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1024 * 1024, FileOptions.SequentialScan);
        return new SavedStream(file.Length, Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken).ConfigureAwait(false)));
    }
}

/// <summary>What a template's files have to be.</summary>
/// <param name="State">The devices.</param>
/// <param name="MemoryBytes">Of the guest.</param>
/// <param name="MemoryWritten">When its file was last written to, in ticks: guests map it and write nothing to it, so whatever else did spoiled it.</param>
internal sealed record TemplateContent(SavedStream State, long MemoryBytes, long MemoryWritten);

[JsonSerializable(typeof(SavedStream))]
[JsonSerializable(typeof(TemplateContent))]
internal sealed partial class SavedStreamJson : JsonSerializerContext;
