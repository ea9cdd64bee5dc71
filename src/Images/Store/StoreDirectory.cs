using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
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
/// images/sha256/HEX/image.json         … what is known about it; last modified when the image was last used …
/// images/sha256/HEX/imported           … there when it came from a file …
/// images/sha256/HEX/damaged            … and there when its rootfs was found to be another
/// images/references.json               names → manifest digests
/// images/tmp/                          builds and removals under way
/// </code>
/// </remarks>
internal sealed partial class StoreDirectory : IDisposable
{
    private const string RootfsName = "rootfs.erofs";
    private const string RecordName = "image.json";
    private const string ImportedName = "imported";
    private const string DamagedName = "damaged";

    private readonly string _root;
    private readonly FileLock _lock;
    private readonly StoreFiles _files;
    private int _temporary;

    private StoreDirectory(string root, FileLock held, StoreFiles files)
    {
        _root = root;
        _lock = held;
        _files = files;
    }

    /// <exception cref="IOException">The directory cannot be used, or another process has it open.</exception>
    public static StoreDirectory Open(string dataDirectory, StoreFiles files)
    {
        var root = Path.Combine(Path.GetFullPath(dataDirectory), "images");
        files.CreateDirectory(Path.Combine(root, "sha256"), "open");
        files.CreateDirectory(Path.Combine(root, "tmp"), "open");
        // A VMM under another user opens a rootfs by its path, but has no business in listing them.
        File.SetUnixFileMode(root, (UnixFileMode)Convert.ToInt32("711", 8));
        var held = FileLock.TryAcquire(Path.Combine(root, "lock"))
            ?? throw new IOException($"{root} is in use by another process");
        var store = new StoreDirectory(root, held, files);
        try
        {
            foreach (var leftover in Directory.EnumerateFileSystemEntries(store.Temporary))
                files.Delete(leftover, "open: sweep");
            return store;
        }
        catch
        {
            store.Dispose();
            throw;
        }
    }

    private string Images => Path.Combine(_root, "sha256");

    private string Temporary => Path.Combine(_root, "tmp");

    private string ReferencesFile => Path.Combine(_root, "references.json");

    public string RootfsPath(Digest digest) => Path.Combine(ImagePath(digest), RootfsName);

    /// <summary>
    /// All images, and the names that lead to one of them. What is no image is removed, and with it the names that led there.
    /// </summary>
    public (IReadOnlyList<StoredEntry> Images, IReadOnlyDictionary<string, string> References) Load()
    {
        var images = new List<StoredEntry>();
        foreach (var directory in Directory.EnumerateDirectories(Images))
        {
            if (ReadImage(directory) is { } image)
                images.Add(image);
            else
                RemoveDirectory(directory, "open: remove");
        }
        var known = images.Select(image => image.Record.ManifestDigest).ToHashSet(StringComparer.Ordinal);
        var stored = ReadJson(ReferencesFile, StoreJson.Default.DictionaryStringString) ?? [];
        var references = stored.Where(pair => known.Contains(pair.Value)).ToDictionary(StringComparer.Ordinal);
        if (references.Count != stored.Count)
            SaveReferences(references, "open");
        return (images, references);
    }

    /// <summary>A directory for one build. The caller deletes it, unless it was published.</summary>
    public string CreateTemporary()
    {
        var path = Path.Combine(Temporary, $"{Interlocked.Increment(ref _temporary)}");
        _files.CreateDirectory(path, "build");
        return path;
    }

    public static string RootfsIn(string temporary) => Path.Combine(temporary, RootfsName);

    public void DeleteTemporary(string temporary) => _files.Delete(temporary, "build: clean up");

    /// <summary>Makes a finished build an image of the store, in place of one that is damaged. Its rootfs has been flushed by the caller.</summary>
    public void Publish(string temporary, StoredEntry image)
    {
        File.SetUnixFileMode(RootfsIn(temporary), (UnixFileMode)Convert.ToInt32("444", 8));
        var record = Path.Combine(temporary, RecordName);
        _files.Write(record, JsonSerializer.SerializeToUtf8Bytes(image.Record, StoreJson.Default.StoredRecord), "publish: image.json");
        File.SetLastWriteTimeUtc(record, image.LastUsed.UtcDateTime);
        if (image.IsImported)
            _files.Write(Path.Combine(temporary, ImportedName), [], "publish: imported");
        _files.SyncDirectory(temporary, "publish: image");
        var target = ImagePath(Digest.Parse(image.Record.ManifestDigest, "a stored image"));
        if (!Directory.Exists(target))
        {
            _files.Rename(temporary, target, "publish");
            _files.SyncDirectory(Images, "publish");
        }
        else if (_files.TryExchange(temporary, target, "publish"))
        {
            _files.SyncDirectory(Images, "publish");
        }
        else
        {
            // Killed in between, the store has lost an image that was of no use.
            RemoveDirectory(target, "publish: replace");
            _files.Rename(temporary, target, "publish");
            _files.SyncDirectory(Images, "publish");
        }
    }

    /// <summary>
    /// Notes when an image was last used: a change of one inode and no flush. A power cut may lose the last seconds of it, which only
    /// decides what is collected first.
    /// </summary>
    public void Touch(Digest digest, DateTimeOffset now)
    {
        _files.Reach("use: touch");
        try
        {
            File.SetLastWriteTimeUtc(Path.Combine(ImagePath(digest), RecordName), now.UtcDateTime);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It was removed meanwhile, or the disk takes no writes; what runs from it does not mind.
        }
    }

    public void MarkImported(Digest digest) => Mark(digest, ImportedName, "import: mark");

    public void MarkDamaged(Digest digest) => Mark(digest, DamagedName, "verify: mark");

    public void UnmarkDamaged(Digest digest)
    {
        _files.Delete(Path.Combine(ImagePath(digest), DamagedName), "verify: unmark");
        _files.SyncDirectory(ImagePath(digest), "verify: unmark");
    }

    /// <param name="what">The change it is part of.</param>
    public void SaveReferences(IReadOnlyDictionary<string, string> references, string what)
    {
        var temporary = Path.Combine(Temporary, $"references-{Interlocked.Increment(ref _temporary)}");
        try
        {
            _files.Write(
                temporary,
                JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, string>(references), StoreJson.Default.DictionaryStringString),
                $"{what}: references.json");
            _files.Rename(temporary, ReferencesFile, $"{what}: references.json");
        }
        catch (IOException)
        {
            File.Delete(temporary);
            throw;
        }
        _files.SyncDirectory(_root, $"{what}: references.json");
    }

    /// <summary>Takes an image out of the store, first its name in the directory, then its content.</summary>
    /// <param name="what">The change it is part of.</param>
    public void Remove(Digest digest, string what) => RemoveDirectory(ImagePath(digest), what);

    public void Dispose() => _lock.Dispose();

    private string ImagePath(Digest digest) => Path.Combine(Images, digest.Hex);

    private void RemoveDirectory(string directory, string what)
    {
        var moved = Path.Combine(Temporary, $"removed-{Interlocked.Increment(ref _temporary)}");
        _files.Rename(directory, moved, what);
        _files.SyncDirectory(Images, what);
        _files.Delete(moved, what);
    }

    private void Mark(Digest digest, string name, string what)
    {
        _files.Write(Path.Combine(ImagePath(digest), name), [], what);
        _files.SyncDirectory(ImagePath(digest), what);
    }

    private StoredEntry? ReadImage(string directory)
    {
        var recordFile = Path.Combine(directory, RecordName);
        if (!Digest.TryParse(Digest.Prefix + Path.GetFileName(directory), out var digest)
            || ReadJson(recordFile, StoreJson.Default.StoredRecord) is not { } record
            || record.ManifestDigest != digest.ToString() || record is { Config: null } or { Layers: null } or { RootfsDigest: null })
        {
            return null;
        }
        var rootfs = new FileInfo(RootfsPath(digest));
        return new StoredEntry(record)
        {
            LastUsed = new DateTimeOffset(File.GetLastWriteTimeUtc(recordFile), TimeSpan.Zero),
            IsImported = File.Exists(Path.Combine(directory, ImportedName)),
            IsDamaged = !rootfs.Exists || rootfs.Length != record.RootfsBytes || File.Exists(Path.Combine(directory, DamagedName)),
        };
    }

    private static T? ReadJson<T>(string path, JsonTypeInfo<T> type)
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

    [JsonSourceGenerationOptions(WriteIndented = true)]
    [JsonSerializable(typeof(StoredRecord))]
    [JsonSerializable(typeof(Dictionary<string, string>))]
    private sealed partial class StoreJson : JsonSerializerContext;
}

/// <summary>What <c>image.json</c> says; never changed.</summary>
internal sealed record StoredRecord(
    string ManifestDigest, long RootfsBytes, string RootfsDigest, IReadOnlyList<ImageLayer> Layers, ImageConfig Config, DateTimeOffset CreatedAt);

/// <summary>An image of the store, with what changes about it.</summary>
internal sealed record StoredEntry(StoredRecord Record)
{
    public required DateTimeOffset LastUsed { get; init; }

    public bool IsImported { get; init; }

    public bool IsDamaged { get; init; }
}
