using System.Text.Json;
using System.Text.Json.Serialization;
using Ravel.Images.Manifests;
using Ravel.Linux.Files;

namespace Ravel.Images.Store;

/// <summary>
/// The store on disk. Every change is one rename, so that a process killed at any instruction leaves either the old or
/// the new state, and unfinished work only in <c>tmp/</c>, which is emptied at the next open.
/// </summary>
/// <remarks>
/// <code>
/// images/lock                          held while a process has the store open
/// images/sha256/HEX/rootfs.erofs       an image: its rootfs …
/// images/sha256/HEX/image.json         … and what is known about it
/// images/references.json               names → manifest digests
/// images/tmp/                          builds and removals under way
/// </code>
/// </remarks>
internal sealed partial class StoreDirectory : IDisposable
{
    private const string RootfsName = "rootfs.erofs";
    private const string RecordName = "image.json";

    private readonly string _root;
    private readonly FileLock _lock;
    private int _temporary;

    private StoreDirectory(string root, FileLock held)
    {
        _root = root;
        _lock = held;
    }

    /// <exception cref="IOException">The directory cannot be used, or another process has it open.</exception>
    public static StoreDirectory Open(string dataDirectory)
    {
        var root = Path.Combine(Path.GetFullPath(dataDirectory), "images");
        Directory.CreateDirectory(Path.Combine(root, "sha256"));
        Directory.CreateDirectory(Path.Combine(root, "tmp"));
        // A VMM under another user opens a rootfs by its path, but has no business in listing them.
        File.SetUnixFileMode(root, (UnixFileMode)Convert.ToInt32("711", 8));
        var held = FileLock.TryAcquire(Path.Combine(root, "lock"))
            ?? throw new IOException($"{root} is in use by another process");
        var store = new StoreDirectory(root, held);
        foreach (var leftover in Directory.EnumerateFileSystemEntries(store.Temporary))
            Delete(leftover);
        return store;
    }

    public string RootfsPath(Digest digest) => Path.Combine(ImagePath(digest), RootfsName);

    private string Temporary => Path.Combine(_root, "tmp");

    private string ReferencesFile => Path.Combine(_root, "references.json");

    /// <summary>All complete images, and the names that lead to one of them.</summary>
    public (IReadOnlyList<StoredRecord> Images, IReadOnlyDictionary<string, string> References) Load()
    {
        var images = new List<StoredRecord>();
        foreach (var directory in Directory.EnumerateDirectories(Path.Combine(_root, "sha256")))
        {
            if (!Digest.TryParse(Digest.Prefix + Path.GetFileName(directory), out var digest))
                continue;
            var record = ReadJson(Path.Combine(directory, RecordName), StoreJson.Default.StoredRecord);
            var rootfs = new FileInfo(RootfsPath(digest));
            // A file that is not what was published (a damaged disk) is not offered; the next pull replaces it.
            if (record is not null && record.ManifestDigest == digest.ToString() && rootfs.Exists && rootfs.Length == record.RootfsBytes)
                images.Add(record);
        }
        var known = images.Select(image => image.ManifestDigest).ToHashSet(StringComparer.Ordinal);
        var references = ReadJson(ReferencesFile, StoreJson.Default.DictionaryStringString) ?? [];
        return (images, references.Where(pair => known.Contains(pair.Value)).ToDictionary(StringComparer.Ordinal));
    }

    /// <summary>A directory for one build. The caller deletes it, unless it was published.</summary>
    public string CreateTemporary()
    {
        var path = Path.Combine(Temporary, $"{Interlocked.Increment(ref _temporary)}");
        Directory.CreateDirectory(path);
        return path;
    }

    public static string RootfsIn(string temporary) => Path.Combine(temporary, RootfsName);

    /// <summary>Makes a finished build an image of the store. Its rootfs has been flushed by the caller.</summary>
    public void Publish(string temporary, StoredRecord record)
    {
        File.SetUnixFileMode(RootfsIn(temporary), (UnixFileMode)Convert.ToInt32("444", 8));
        WriteJson(Path.Combine(temporary, RecordName), record, StoreJson.Default.StoredRecord);
        FileBlocks.SyncDirectory(temporary);
        var target = ImagePath(Digest.Parse(record.ManifestDigest, "a stored image"));
        if (Directory.Exists(target))
            MoveAway(target);
        Directory.Move(temporary, target);
        FileBlocks.SyncDirectory(Path.GetDirectoryName(target)!);
    }

    public void SaveReferences(IReadOnlyDictionary<string, string> references)
    {
        var temporary = Path.Combine(Temporary, $"references-{Interlocked.Increment(ref _temporary)}");
        WriteJson(temporary, new Dictionary<string, string>(references), StoreJson.Default.DictionaryStringString);
        File.Move(temporary, ReferencesFile, overwrite: true);
        FileBlocks.SyncDirectory(_root);
    }

    /// <summary>Takes an image out of the store, first its name in the directory, then its content.</summary>
    public void Remove(Digest digest)
    {
        var moved = MoveAway(ImagePath(digest));
        FileBlocks.SyncDirectory(Path.Combine(_root, "sha256"));
        Delete(moved);
    }

    public void Dispose() => _lock.Dispose();

    /// <summary>Deletes a file or directory that may be gone already.</summary>
    public static void Delete(string path)
    {
        if (Directory.Exists(path))
            Directory.Delete(path, recursive: true);
        else
            File.Delete(path);
    }

    private string ImagePath(Digest digest) => Path.Combine(_root, "sha256", digest.Hex);

    private string MoveAway(string directory)
    {
        var moved = Path.Combine(Temporary, $"removed-{Interlocked.Increment(ref _temporary)}");
        Directory.Move(directory, moved);
        return moved;
    }

    private static T? ReadJson<T>(string path, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), type);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException or JsonException)
        {
            return null;
        }
    }

    private static void WriteJson<T>(string path, T value, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        using var file = File.OpenHandle(path, FileMode.Create, FileAccess.Write);
        RandomAccess.Write(file, JsonSerializer.SerializeToUtf8Bytes(value, type), 0);
        RandomAccess.FlushToDisk(file);
    }

    [JsonSourceGenerationOptions(WriteIndented = true)]
    [JsonSerializable(typeof(StoredRecord))]
    [JsonSerializable(typeof(Dictionary<string, string>))]
    private sealed partial class StoreJson : JsonSerializerContext;
}

/// <summary>What <c>image.json</c> says.</summary>
internal sealed record StoredRecord(string ManifestDigest, long RootfsBytes, ImageConfig Config, DateTimeOffset CreatedAt);
