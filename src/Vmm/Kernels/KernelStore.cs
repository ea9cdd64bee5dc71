using System.Text.Json;
using System.Text.Json.Serialization;
using Ravel.Contracts.Api;
using Ravel.Linux.Files;
using Ravel.Vmm.Boot;

namespace Ravel.Vmm.Kernels;

/// <summary>
/// Ravel's own kernels on disk: a directory each, named by the digest, with the kernel, <c>modules/</c> and <c>kernel.json</c>;
/// beside them <c>default</c>, which holds the digest of the one chosen. A directory appears by a rename when it is complete,
/// and goes by a rename to a name that the next start clears away. Not safe for concurrent changes; its owner takes turns.
/// </summary>
internal sealed class KernelStore
{
    private const string TemporaryPrefix = ".";
    private const string DescriptionFile = "kernel.json";
    private const string DefaultFile = "default";

    private readonly string _directory;
    private readonly TimeProvider _time;
    private readonly Dictionary<string, StoredKernel> _kernels = new(StringComparer.Ordinal);
    private long _temporaries;

    /// <summary>Reads what is there. Nothing is made before it is needed.</summary>
    public KernelStore(string directory, TimeProvider time)
    {
        _directory = directory;
        _time = time;
        if (!Directory.Exists(directory))
            return;
        foreach (var path in Directory.EnumerateDirectories(directory))
        {
            if (Path.GetFileName(path).StartsWith(TemporaryPrefix, StringComparison.Ordinal))
                Directory.Delete(path, recursive: true);
            else if (KernelReference.IsDigest(KernelReference.DigestPrefix + Path.GetFileName(path)) && Read(path) is { } kernel)
                _kernels[kernel.Digest] = kernel;
        }
        DefaultDigest = ReadDefault();
    }

    public IReadOnlyCollection<StoredKernel> All => _kernels.Values;

    /// <summary>Null: the host's own is the default.</summary>
    public string? DefaultDigest { get; private set; }

    public StoredKernel? Find(string digest) => _kernels.GetValueOrDefault(digest);

    /// <summary>An empty directory for a kernel to come, on the same file system. Whoever asked removes it, unless it became one.</summary>
    public string MakeTemporary()
    {
        var path = Path.Combine(_directory, $"{TemporaryPrefix}new-{Interlocked.Increment(ref _temporaries)}");
        return Directory.CreateDirectory(path).FullName;
    }

    /// <summary>Makes a temporary directory a kernel. What is there already keeps its place.</summary>
    /// <exception cref="KernelException"><c>kernel-invalid</c>.</exception>
    public async Task<StoredKernel> InspectAsync(string temporary, KernelOrigin origin, CancellationToken cancellationToken)
    {
        var content = KernelContent.Of(Guest(temporary));
        KernelFile file;
        try
        {
            file = KernelFile.Inspect(await File.ReadAllBytesAsync(content.KernelPath, cancellationToken));
        }
        catch (InvalidDataException e)
        {
            throw new KernelException(ProblemCodes.KernelInvalid, $"This is no kernel for a guest: {e.Message}.", e);
        }
        var (digest, bytes) = await content.DigestAsync(cancellationToken);
        return new StoredKernel
        {
            Digest = digest,
            Name = KernelReference.From(file.Release),
            Release = file.Release,
            Format = file.Format,
            Bytes = bytes,
            Modules = content.Modules.Count,
            Origin = origin,
            CreatedAt = _time.GetUtcNow(),
        };
    }

    /// <summary>Gives an inspected temporary directory its place.</summary>
    public void Commit(string temporary, StoredKernel kernel)
    {
        WriteDescription(temporary, kernel);
        Sync(temporary);
        // One that is damaged is not listed, and in the way.
        if (Directory.Exists(PathOf(kernel.Digest)))
            Directory.Delete(MoveAway(kernel.Digest), recursive: true);
        Directory.Move(temporary, PathOf(kernel.Digest));
        FileBlocks.SyncDirectory(_directory);
        _kernels[kernel.Digest] = kernel;
    }

    /// <summary>Replaces what is written about a kernel.</summary>
    public void Update(StoredKernel kernel)
    {
        WriteDescription(PathOf(kernel.Digest), kernel);
        _kernels[kernel.Digest] = kernel;
    }

    public void Remove(string digest)
    {
        var gone = MoveAway(digest);
        _kernels.Remove(digest);
        Directory.Delete(gone, recursive: true);
    }

    public void SetDefault(string? digest)
    {
        var path = Path.Combine(_directory, DefaultFile);
        if (digest is null)
            DurableFiles.Delete(path);
        else
            WriteDurably(path, digest);
        DefaultDigest = digest;
    }

    public GuestKernel GuestOf(StoredKernel kernel) => Guest(PathOf(kernel.Digest)) with { Release = kernel.Release };

    private string PathOf(string digest) => Path.Combine(_directory, digest[KernelReference.DigestPrefix.Length..]);

    private static GuestKernel Guest(string directory) =>
        KernelCatalog.FromDirectory(directory) ?? throw new KernelException(ProblemCodes.KernelInvalid, "There is no kernel in it.");

    private string MoveAway(string digest)
    {
        var gone = Path.Combine(_directory, $"{TemporaryPrefix}gone-{Interlocked.Increment(ref _temporaries)}");
        Directory.Move(PathOf(digest), gone);
        return gone;
    }

    private string? ReadDefault()
    {
        var path = Path.Combine(_directory, DefaultFile);
        return File.Exists(path) && File.ReadAllText(path).Trim() is var digest && _kernels.ContainsKey(digest) ? digest : null;
    }

    /// <summary>Null for a directory that somebody damaged: it is left alone, and is no kernel.</summary>
    private static StoredKernel? Read(string directory)
    {
        try
        {
            var text = File.ReadAllBytes(Path.Combine(directory, DescriptionFile));
            var kernel = JsonSerializer.Deserialize(text, StoredKernelJson.Default.StoredKernel);
            return kernel is not null && kernel.Digest == KernelReference.DigestPrefix + Path.GetFileName(directory) && KernelCatalog.FromDirectory(directory) is not null
                ? kernel
                : null;
        }
        catch (Exception e) when (e is IOException or JsonException)
        {
            return null;
        }
    }

    private static void WriteDescription(string directory, StoredKernel kernel) =>
        WriteDurably(Path.Combine(directory, DescriptionFile), JsonSerializer.Serialize(kernel, StoredKernelJson.Default.StoredKernel));

    private static void WriteDurably(string path, string text)
    {
        var temporary = path + ".new";
        File.WriteAllText(temporary, text);
        DurableFiles.Publish(temporary, path);
    }

    /// <summary>Whoever wrote the files need not have flushed them: a linker does not.</summary>
    private static void Sync(string directory)
    {
        foreach (var path in Directory.EnumerateFiles(directory))
        {
            using var file = File.OpenHandle(path, access: FileAccess.ReadWrite);
            RandomAccess.FlushToDisk(file);
        }
        foreach (var path in Directory.EnumerateDirectories(directory))
            Sync(path);
        FileBlocks.SyncDirectory(directory);
    }
}

/// <summary><c>kernel.json</c>.</summary>
internal sealed record StoredKernel
{
    public required string Digest { get; init; }

    public required string Name { get; init; }

    public required string Release { get; init; }

    public required KernelFormat Format { get; init; }

    public required long Bytes { get; init; }

    public required int Modules { get; init; }

    public required KernelOrigin Origin { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>Of what it was built from; null when it was not built here.</summary>
    public string? BuildKey { get; init; }

    public InstalledKernel Shown() => new(Digest, Name, Release, Format, Bytes, Modules, Origin, CreatedAt);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, UseStringEnumConverter = true)]
[JsonSerializable(typeof(StoredKernel))]
internal sealed partial class StoredKernelJson : JsonSerializerContext;
