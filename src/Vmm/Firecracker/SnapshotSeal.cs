using System.Collections.Concurrent;
using System.IO.Hashing;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.Win32.SafeHandles;
using Ravel.Linux.Files;

namespace Ravel.Vmm.Firecracker;

/// <summary>
/// What a snapshot's files have to be. Firecracker checks its state file with a checksum and its memory file not at all, so a file that was
/// cut short or has rotted would be a guest that goes wrong later (docs/snapshotting: integrity is the caller's job).
/// </summary>
/// <param name="Format">Of the state file, as <c>--describe-snapshot</c> says it.</param>
internal sealed record SnapshotSeal(
    string Format,
    int Cpus,
    int MemoryMib,
    IReadOnlyList<string> Drives,
    IReadOnlyList<string> Networks,
    bool HasBalloon,
    SealedFile State,
    SealedFile Memory)
{
    public const string FileName = "seal.json";

    /// <summary>Runs of zeros of this length become holes: what a guest never touched takes no disk.</summary>
    private const int HoleBytes = 64 * 1024;

    private const int ChunkBytes = 1024 * 1024;

    /// <summary>Files found right, so that one snapshot many VMs start from is read in full once.</summary>
    private static readonly ConcurrentDictionary<(string Path, long Length, DateTime Written), string> Verified = new();

    /// <summary>Names the state of memory a VM's changes are counted from.</summary>
    [JsonIgnore]
    public string Identity => $"{State.Hash}-{Memory.Hash}";

    /// <summary>Makes the files in a directory durable and writes down what they are.</summary>
    public static SnapshotSeal Write(string directory, string format, LaunchedVm vm)
    {
        var seal = new SnapshotSeal(
            format,
            vm.Cpus,
            vm.MemoryMib,
            [.. vm.Drives.Select(drive => drive.Id)],
            [.. vm.Networks.Select(network => network.Id)],
            vm.HasBalloon,
            Seal(Path.Combine(directory, VmFiles.SnapshotState), makesHoles: false),
            Seal(Path.Combine(directory, VmFiles.SnapshotMemory), makesHoles: true));
        using (var file = File.Create(Path.Combine(directory, FileName)))
        {
            JsonSerializer.Serialize(file, seal, FirecrackerJson.Default.SnapshotSeal);
            file.Flush(flushToDisk: true);
        }
        FileBlocks.SyncDirectory(directory);
        return seal;
    }

    /// <exception cref="VmRestoreException">There is none.</exception>
    /// <exception cref="VmmException">It cannot be read.</exception>
    public static SnapshotSeal Read(string directory)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(Path.Combine(directory, FileName)), FirecrackerJson.Default.SnapshotSeal)
                ?? throw new JsonException("null");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException or JsonException)
        {
            throw new VmRestoreException($"snapshot {directory} is incomplete and is not restored: {e.Message}", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"snapshot {directory} cannot be read: {e.Message}", e);
        }
    }

    /// <exception cref="VmRestoreException">A file is not what was sealed.</exception>
    public void Verify(string directory)
    {
        Check(Path.Combine(directory, VmFiles.SnapshotState), State);
        Check(Path.Combine(directory, VmFiles.SnapshotMemory), Memory);

        void Check(string path, SealedFile file)
        {
            if (!File.Exists(path))
                throw new VmRestoreException($"snapshot {directory} is incomplete and is not restored: {path} is not there");
            var info = new FileInfo(path);
            if (info.Length != file.Length)
                throw new VmRestoreException($"snapshot {directory} is damaged and is not restored: {path} has {info.Length} bytes instead of {file.Length}");
            var key = (path, info.Length, info.LastWriteTimeUtc);
            if (!Verified.TryGetValue(key, out var hash))
            {
                using var handle = File.OpenHandle(path);
                hash = Hash(handle, null);
            }
            if (hash != file.Hash)
                throw new VmRestoreException($"snapshot {directory} is damaged and is not restored: {path} is not what was saved");
            // Bounded: what is forgotten is read again.
            if (Verified.Count >= 1024)
                Verified.Clear();
            Verified[key] = hash;
        }
    }

    /// <summary>Why a VM of this spec cannot go on from here, or null. What the guest was running with cannot change under it.</summary>
    public string? Mismatch(VmSpec spec)
    {
        if (spec.Cpus != Cpus || spec.MemoryMib != MemoryMib)
            return $"it was saved with {Cpus} CPUs and {MemoryMib} MiB, not {spec.Cpus} and {spec.MemoryMib}";
        if (!spec.Drives.Select(drive => drive.Id).SequenceEqual(Drives))
            return $"it was saved with the drives [{string.Join(", ", Drives)}], not [{string.Join(", ", spec.Drives.Select(drive => drive.Id))}]";
        if (!spec.Networks.Select(network => network.Id).SequenceEqual(Networks))
            return $"it was saved with the networks [{string.Join(", ", Networks)}], not [{string.Join(", ", spec.Networks.Select(network => network.Id))}]";
        return spec.HasBalloon == HasBalloon ? null : "it was saved " + (HasBalloon ? "with a balloon" : "without a balloon");
    }

    private static SealedFile Seal(string path, bool makesHoles)
    {
        using var handle = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
        var hash = Hash(handle, makesHoles ? (offset, length) => FileBlocks.TryPunchHole(handle, offset, length) : null);
        RandomAccess.FlushToDisk(handle);
        return new SealedFile(RandomAccess.GetLength(handle), hash);
    }

    /// <param name="zeros">Told of every run of zeros, block by block; false = not again.</param>
    private static string Hash(SafeFileHandle file, Func<long, long, bool>? zeros)
    {
        var hash = new XxHash128();
        var buffer = new byte[ChunkBytes];
        for (long at = 0; ;)
        {
            var read = RandomAccess.Read(file, buffer, at);
            if (read == 0)
                return Convert.ToHexStringLower(hash.GetCurrentHash());
            hash.Append(buffer.AsSpan(0, read));
            for (var i = 0; zeros is not null && i + HoleBytes <= read; i += HoleBytes)
            {
                if (!buffer.AsSpan(i, HoleBytes).ContainsAnyExcept((byte)0) && !zeros(at + i, HoleBytes))
                    zeros = null;
            }
            at += read;
        }
    }
}

internal sealed record SealedFile(long Length, string Hash);
